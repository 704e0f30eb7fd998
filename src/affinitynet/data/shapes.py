"""Outlines as annotation files have them: polygons, run lengths, small bitmaps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Runs = dict[str, Any]
"""Run lengths as pycocotools has them: `size` and `counts`."""
LONGEST = 7
"""Groups of bits that a run length has at most: pycocotools' numbers have 32 bits."""
Encode = Callable[[int, int], Runs]
"""Maps a photo's height and width to the run lengths of a shape in it."""


@dataclass(frozen=True)
class Shape:
    """The outline of something in a photo; `label` is the name of its class."""

    label: str
    encode: Encode


def encode_polygons(
    polygons: Sequence[Sequence[float]], height: int, width: int, whole: float | None = None
) -> Runs:
    """Encode the union of polygons, each a list of x, y, x, y, …, in pixels or in parts of `whole`.

    Points further outside the photo than its side is long are moved nearer: pycocotools walks
    along every edge, pixel by pixel.
    """
    sides = np.array([width, height])
    scale = sides / whole if whole else 1
    points = (np.reshape(polygon, (-1, 2)) * scale for polygon in polygons)
    near = [np.clip(each, -sides, 2 * sides).ravel().tolist() for each in points]
    runs: Runs = coco_mask.merge(coco_mask.frPyObjects(near, height, width))
    return runs


def outline(given: Any, whole: float | None = None) -> Encode | None:
    """Make a shape of polygons, see `read_polygons` and `encode_polygons`; None without any."""
    polygons = read_polygons(given)
    return partial(encode_polygons, polygons, whole=whole) if polygons else None


def encode_runs(counts: Sequence[int] | str | bytes, size: tuple[int, int], *_: int) -> Runs:
    """Encode COCO's run lengths, compressed or not."""
    if isinstance(counts, str | bytes):
        return {"size": list(size), "counts": counts}
    runs: Runs = coco_mask.frPyObjects({"size": list(size), "counts": list(counts)}, *size)
    return runs


def read_compressed(counts: str) -> list[int]:
    """Read COCO's compressed run lengths.

    A number is groups of five bits, the lowest first, each a character from `0`; the sixth bit says
    that another one follows. From the fourth number on they are differences from the last but one.

    Returns:
        The run lengths; none if the text cannot be such.
    """
    codes = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8)
    groups = codes.astype(np.int64) - ord("0")
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if not ends.size or ends[-1] != groups.size - 1 or lengths.max() > LONGEST:
        return []
    places = np.arange(groups.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((groups & 31) << (5 * places), starts)
    numbers -= (groups[ends] & 16 > 0) << (5 * lengths)  # the sign
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    runs: list[int] = numbers.tolist()
    return runs


def encode_bitmap(
    bitmap: npt.NDArray[np.bool_], left: int, top: int, height: int, width: int
) -> Runs:
    """Encode a bitmap that lies somewhere in the photo; what sticks out is cut off."""
    whole = np.zeros((height, width), np.uint8, order="F")
    y, x = max(top, 0), max(left, 0)
    part = bitmap[y - top : height - top, x - left : width - left]
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    runs: Runs = coco_mask.encode(whole)
    return runs


def read_polygons(given: Any) -> list[list[float]]:
    """Read polygons: of lists of numbers, of points, or one such list.

    Those of less than three points are left out.
    """
    if not isinstance(given, list | tuple) or not given:
        return []
    if all(_is_number(each) for each in given):
        numbers = [float(each) for each in given]
        sound = len(numbers) >= 6 and len(numbers) % 2 == 0 and all(map(math.isfinite, numbers))
        return [numbers] if sound else []
    if len(given) > 2 and all(
        isinstance(each, list | tuple) and len(each) == 2 and all(map(_is_number, each))
        for each in given
    ):
        return read_polygons([number for point in given for number in point])
    return [polygon for each in given for polygon in read_polygons(each)]


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0
) -> list[float]:
    """Write an ellipse as a polygon of 64 points."""
    angles = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    turn = math.radians(degrees)
    across, along = radius_x * np.cos(angles), radius_y * np.sin(angles)
    points = np.stack(
        [
            x + across * math.cos(turn) - along * math.sin(turn),
            y + across * math.sin(turn) + along * math.cos(turn),
        ],
        axis=1,
    )
    return [float(number) for number in points.ravel()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
