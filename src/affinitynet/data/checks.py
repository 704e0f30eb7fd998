"""Inspection of every photo and mask: size, soundness, and a hash that finds duplicates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from affinitynet.core.images import REPAIRS, to_rgb
from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.data.files import why_unreadable
from affinitynet.data.near_duplicates import difference_hash

MIN_SIDE = 16
"""Pixels; photos with a shorter side show nothing that could be learned."""
MIN_CONTRAST = 8
"""Grey levels from the darkest to the brightest pixel; photos with fewer show nothing either."""
BLANK = "of one colour"
SEPARATOR = "; "
"""Between a photo's repairs in a table."""

TURNED_MASK = "; a photo that its EXIF turns needs a mask that is turned, too"
UNKNOWN_VALUES = "are no class"
"""Of a mask with values that stand for nothing."""


class Inspection(NamedTuple):
    """Result of reading a photo in full; its sizes are upright, in pixels, 0 if it cannot be read.

    Attributes:
        hash: 32 hexadecimal digits for finding near-duplicates; empty where something is wrong.
        problem: Why the photo is left out; empty where it is sound.
        repairs: Repairs that reading it needed, and oddities, joined by `SEPARATOR`.
    """

    width: int
    height: int
    hash: str = ""
    problem: str = ""
    repairs: str = ""


CRASHES = Inspection(0, 0, problem="the process that reads it dies, each time")
"""Of a photo that `inspect_photo` never returned from."""


def inspect_photo(read: Callable[[], Any]) -> Inspection:
    """Read a photo, a PIL image, in full."""
    try:
        photo = to_rgb(read())
    except Exception as error:
        return Inspection(0, 0, problem=f"cannot be read ({why_unreadable(error)})")
    width, height = photo.size
    if min(width, height) < MIN_SIDE:
        return Inspection(width, height, problem=f"is too small: {width} x {height} pixels")
    blank = np.ptp(np.asarray(photo.convert("L")).astype(np.int16)) < MIN_CONTRAST
    repairs = [*photo.info[REPAIRS], *([BLANK] if blank else [])]
    return Inspection(width, height, difference_hash(photo), repairs=SEPARATOR.join(repairs))


@dataclass(frozen=True)
class MaskInspection:
    """Result of reading a mask in full.

    `shown` are its values, 0 and `IGNORE_INDEX` apart; None if it cannot be read.
    """

    problems: list[str]
    shown: tuple[int, ...] | None = None


def inspect_mask(
    read_mask: Callable[[], npt.NDArray[np.uint8]], width: int, height: int, num_values: int
) -> MaskInspection:
    """Read a mask in full.

    Args:
        width: Of its photo, in pixels; 0 if that is not known.
        height: In pixels.
        num_values: Number of classes that mask values may stand for.
    """
    try:
        mask = read_mask()
    except Exception as error:
        return MaskInspection([f"the mask cannot be read ({why_unreadable(error)})"])
    problems = []
    if width and mask.shape != (height, width):
        shape = f"{mask.shape[1]} x {mask.shape[0]}"
        turned = TURNED_MASK if mask.shape == (width, height) else ""
        problems.append(f"the mask is {shape}, the photo {width} x {height} pixels{turned}")
    values = np.setdiff1d(mask, [0, IGNORE_INDEX])
    wrong = values[values > num_values]
    if wrong.size:
        problems.append(
            f"mask values {wrong.tolist()} {UNKNOWN_VALUES} (0 … {num_values} and {IGNORE_INDEX} "
            "are; data_set.mask_classes names them)"
        )
    return MaskInspection(problems, tuple(values.tolist()))
