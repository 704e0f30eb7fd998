"""What a single look at every photo tells: its size, whether it is sound, and which look alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.images import to_rgb
from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.data.files import why_unreadable
from affinitynet.data.near_duplicates import difference_hash

MIN_SIDE = 16
"""Pixels; photos with a shorter side show nothing that could be learned."""
CRASHES = (0, 0, "", "the process that reads it dies, each time")
"""What is told of a photo that `inspect_photo` never returned from."""

UNKNOWN_VALUES = "are no class"
"""Of a mask with values that stand for nothing."""


def inspect_photo(read: Callable[[], Any]) -> tuple[int, int, str, str]:
    """Read a photo in full.

    Args:
        read: Reads the photo, a PIL image.

    Returns:
        Width and height, upright, in pixels; its hash, 32 hexadecimal digits; and what is wrong
        with it. The hash is empty where something is wrong.
    """
    try:
        photo = to_rgb(read())
    except Exception as error:
        return 0, 0, "", f"cannot be read ({why_unreadable(error)})"
    width, height = photo.size
    if min(width, height) < MIN_SIDE:
        return width, height, "", f"is too small: {width} x {height} pixels"
    return width, height, difference_hash(photo), ""


@dataclass(frozen=True)
class MaskInspection:
    """What reading a mask in full tells.

    Attributes:
        problems: What is wrong with it.
        shown: Values that it has, 0 and `IGNORE_INDEX` apart.
    """

    problems: list[str]
    shown: tuple[int, ...] = ()


def inspect_mask(
    read_mask: Callable[[], npt.NDArray[np.uint8]], width: int, height: int, num_values: int
) -> MaskInspection:
    """Read a mask in full.

    Args:
        read_mask: Reads the mask, (H, W) uint8.
        width: Of its photo, in pixels; 0 if that is not known.
        height: Of its photo, in pixels.
        num_values: Number of classes that mask values may stand for.
    """
    try:
        mask = read_mask()
    except Exception as error:
        return MaskInspection([f"the mask cannot be read ({why_unreadable(error)})"])
    problems = []
    if width and mask.shape != (height, width):
        shape = f"{mask.shape[1]} x {mask.shape[0]}"
        problems.append(f"the mask is {shape}, the photo {width} x {height} pixels")
    values = np.setdiff1d(mask, [0, IGNORE_INDEX])
    wrong = values[values > num_values]
    if wrong.size:
        problems.append(
            f"mask values {wrong.tolist()} {UNKNOWN_VALUES} (0 … {num_values} and {IGNORE_INDEX} "
            "are; data_set.mask_classes names them)"
        )
    return MaskInspection(problems, tuple(values.tolist()))
