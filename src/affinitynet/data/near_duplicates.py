"""Photos that look alike: resized, compressed or slightly recoloured copies of each other."""

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_DISTANCE = 7
"""Bits of 128 that a near-duplicate differs in at most from its group's representative."""


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
    """Group photos whose hashes differ in few bits from that of the group's representative.

    Each hash joins the nearest representative within `MAX_DISTANCE`, or becomes one, the most
    frequent hashes first. So groups do not chain: two photos of one differ in twice as many bits
    at most. Memory grows with the number of photos.

    Args:
        hashes: Of each photo; empty for none, which is like no other.

    Returns:
        (N,) the number of each photo's group.
    """
    groups = len(hashes) + np.arange(len(hashes), dtype=np.int32)
    rows = [row for row, each in enumerate(hashes) if each]
    if not rows:
        return groups
    bits = np.frombuffer(bytes.fromhex("".join(hashes[row] for row in rows)), np.uint64)
    codes, code_of_row, uses = np.unique(
        bits.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True
    )
    left, right = np.empty((2, len(codes)), np.uint64)  # halves of the representatives' hashes
    group_of_code = np.empty(len(codes), np.int32)
    count = 0
    for code in np.argsort(-uses, kind="stable"):
        near = np.bitwise_count(left[:count] ^ codes[code, 0])
        near += np.bitwise_count(right[:count] ^ codes[code, 1])
        nearest = int(near.argmin()) if count else 0
        if count == 0 or near[nearest] > MAX_DISTANCE:
            left[count], right[count] = codes[code]
            nearest, count = count, count + 1
        group_of_code[code] = nearest
    groups[rows] = group_of_code[code_of_row.ravel()]
    return groups
