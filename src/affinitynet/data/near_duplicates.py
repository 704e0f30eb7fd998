"""Photos that look alike: resized, compressed or slightly recoloured copies of each other."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

MAX_DISTANCE = 7
"""Bits of 128 that near-duplicates differ in at most: one less than the hash has bands."""


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
    near = scipy.sparse.coo_array(
        (np.ones(len(first), bool), (first, second)), shape=(len(codes),) * 2
    )
    _, group_of_code = scipy.sparse.csgraph.connected_components(near, directed=False)
    groups = len(codes) + np.arange(count, dtype=np.int32)
    groups[rows] = group_of_code[code_of_row]
    return groups
