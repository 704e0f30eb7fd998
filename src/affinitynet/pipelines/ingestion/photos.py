"""What a single look at every photo tells: its size, whether it is sound, and which look alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.pipelines.images import why_unreadable

MIN_SIDE = 16
"""Pixels; photos with a shorter side show nothing that could be learned."""
CRASHES = (0, 0, "", "the process that reads it dies, each time")
"""What is told of a photo that `inspect_photo` never returned from."""
MAX_DISTANCE = 7
"""Bits of 128 that near-duplicates differ in at most: one less than the hash has bands."""


def inspect_photo(read: Callable[[], Any]) -> tuple[int, int, str, str]:
    """Read a photo in full.

    Args:
        read: Reads the photo, a PIL image.

    Returns:
        Width and height, upright, in pixels; its hash, 32 hexadecimal digits; and what is wrong
        with it. The hash is empty where something is wrong.
    """
    from affinitynet.training.photos import to_rgb

    try:
        photo = to_rgb(read())
    except Exception as error:
        return 0, 0, "", f"cannot be read ({why_unreadable(error)})"
    width, height = photo.size
    if min(width, height) < MIN_SIDE:
        return width, height, "", f"is too small: {width} x {height} pixels"
    return width, height, difference_hash(photo), ""


def difference_hash(photo: Any) -> str:
    """Hash a photo by the signs of its brightness gradients, on a grid of 8 x 8.

    Copies that were resized, compressed or slightly recoloured differ in few bits.

    Returns:
        128 bits, 32 hexadecimal digits: the gradients to the right, then downwards.
    """
    from PIL import Image

    grid = np.asarray(photo.convert("L").resize((9, 9), Image.Resampling.BOX))
    right = grid[:-1, 1:] > grid[:-1, :-1]
    down = grid[1:, :-1] > grid[:-1, :-1]
    return np.packbits(np.stack([right, down])).tobytes().hex()


def group_near_duplicates(hashes: list[str]) -> npt.NDArray[np.int32]:
    """Group photos whose hashes differ in few bits, each with the next at least.

    Hashes of 8 bands of 16 bits that differ in 7 bits agree in a band: only those are compared.

    Args:
        hashes: Of each photo; empty for none, which is like no other.

    Returns:
        (N,) the number of each photo's group.
    """
    bits = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in hashes]
    rows = np.array([row for row, each in enumerate(bits) if each.size], int)
    count = len(hashes)
    if not rows.size:
        return np.arange(count, dtype=np.int32)
    codes, code_of_row = np.unique([bits[row] for row in rows], axis=0, return_inverse=True)
    pairs = []
    for band in np.ascontiguousarray(codes).view(np.uint16).T:
        order = np.argsort(band, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for position, code in enumerate(same[:-1]):
                others = same[position + 1 :]
                distance = np.bitwise_count(codes[others] ^ codes[code]).sum(axis=1)
                pairs += [(code, other) for other in others[distance <= MAX_DISTANCE]]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    near = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(codes),) * 2)
    _, group_of_code = connected_components(near, directed=False)
    groups = len(codes) + np.arange(count, dtype=np.int32)
    groups[rows] = group_of_code[code_of_row]
    return groups


def list_mask_problems(
    read_mask: Callable[[], npt.NDArray[np.uint8]], width: int, height: int, num_values: int
) -> list[str]:
    """Say what is wrong with a mask, read in full.

    Args:
        read_mask: Reads the mask, (H, W) uint8.
        width: Of its photo, in pixels; 0 if that is not known.
        height: Of its photo, in pixels.
        num_values: Number of classes that mask values may stand for.
    """
    try:
        mask = read_mask()
    except Exception as error:
        return [f"the mask cannot be read ({why_unreadable(error)})"]
    problems = []
    if width and mask.shape != (height, width):
        shape = f"{mask.shape[1]} x {mask.shape[0]}"
        problems.append(f"the mask is {shape}, the photo {width} x {height} pixels")
    values = np.unique(mask)
    wrong = values[(values > num_values) & (values != IGNORE_INDEX)]
    if wrong.size:
        problems.append(
            f"mask values {wrong.tolist()} are no class (0 … {num_values} and {IGNORE_INDEX} are; "
            "data_set.mask_classes names them)"
        )
    return problems
