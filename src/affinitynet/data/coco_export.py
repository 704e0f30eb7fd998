"""Label maps as COCO has them: categories, run-length encoded segments, polygons."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
from pycocotools import mask as rle

from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap
from affinitynet.deferred import pandas as pd

Segment = dict[str, Any]


def categories(classes: Classes) -> list[dict[str, Any]]:
    """List the classes, without background: `id` is the mask value."""
    return [{"id": value, "name": name} for name, value in classes.items()]


def image_entries(images: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Describe images, numbered from 1 in the order of their rows.

    Args:
        images: One row an image: `file`, `width`, `height`, and where known `source`, what its
            labels are.

    Yields:
        `id`, `file_name`, `width`, `height`, and `source`.
    """
    columns = ["file", "width", "height", *(name for name in ["source"] if name in images)]
    rows = images[columns].itertuples(index=False)
    for number, (file, width, height, *source) in enumerate(rows, start=1):
        entry = {"id": number, "file_name": file, "width": int(width), "height": int(height)}
        yield entry | dict(zip(["source"], source, strict=False))


def encode_results(mask: LabelMap, confidence: npt.NDArray[np.uint8]) -> list[Segment]:
    """Encode a predicted mask (H, W) as COCO's results: a segment a class, in run lengths.

    `confidence` (H, W) is the probability of each pixel's class in 255ths; a segment's `score` is
    its mean, in [0, 1].
    """
    return [
        {
            "category_id": value,
            "segmentation": _run_lengths(mask == value),
            "score": round(float(confidence[mask == value].mean() / 255), 4),
        }
        for value in _classes(mask)
    ]


def encode_stuff(mask: LabelMap) -> list[Segment]:
    """Encode a mask (H, W) as COCO does stuff: an annotation a class, in run lengths.

    Background and neutral pixels are in no annotation. `iscrowd` is 0.
    """
    return [_annotation(value, _run_lengths(mask == value)) for value in _classes(mask)]


def encode_components(
    mask: LabelMap, *, min_area: float = 0, tolerance: float = 0
) -> list[Segment]:
    """Encode a mask as COCO does objects: an annotation a connected part of a class, in polygons.

    Args:
        mask: (H, W) mask values.
        min_area: In pixels: smaller parts are left out, smaller holes filled.
        tolerance: In pixels, by which an outline may differ. With 0 polygons follow the pixels'
            edges, so that nothing is lost.

    Returns:
        As `encode_stuff`, areas and boxes of the polygons. A part with holes, which COCO's
        polygons cannot have, is cut into several polygons.
    """
    annotations = []
    for value in _classes(mask):
        parts, _ = scipy.ndimage.label(mask == value)
        for number, box in enumerate(scipy.ndimage.find_objects(parts), start=1):
            rows, columns = box
            part = _fill_holes(parts[box] == number, min_area)
            if part.sum() < min_area:
                continue
            polygons = [
                (points + np.array([columns.start, rows.start])).ravel().tolist()
                for points in trace_polygons(part, tolerance)
                if len(points) > 2
            ]
            if polygons:
                drawn = rle.merge(rle.frPyObjects(polygons, *mask.shape))
                annotations.append(_annotation(value, drawn) | {"segmentation": polygons})
    return annotations


def _fill_holes(part: npt.NDArray[np.bool_], min_area: float) -> npt.NDArray[np.bool_]:
    """Fill the holes with fewer pixels."""
    holes, _ = scipy.ndimage.label(scipy.ndimage.binary_fill_holes(part) & ~part)
    areas = np.bincount(holes.ravel())
    small = areas < min_area
    small[0] = False
    filled: npt.NDArray[np.bool_] = part | small[holes]
    return filled


def _simplify(
    points: npt.NDArray[np.int64], tolerance: float, cuts: Collection[int]
) -> npt.NDArray[np.int64]:
    """Leave out corners of a polygon (Douglas & Peucker, 1973).

    Args:
        points: (N, 2) corners, x and y.
        tolerance: Largest distance in pixels of a corner from the outline that stays.
        cuts: Rows whose corners stay: another piece begins there.
    """
    if tolerance <= 0 or len(points) < 4:
        return points
    ring = np.vstack([points, points[:1]])
    kept = np.isin(ring[:, 1], [*cuts])
    kept[[0, -1, np.linalg.norm(ring - ring[0], axis=1).argmax()]] = True
    fixed = np.flatnonzero(kept).tolist()
    spans = [*pairwise(fixed)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        chord, offsets = ring[last] - ring[first], ring[first + 1 : last] - ring[first]
        along = np.clip(offsets @ chord / max(chord @ chord, 1), 0, 1)
        distances = np.linalg.norm(offsets - along[:, None] * chord, axis=1)
        if distances.max() > tolerance:
            middle = first + 1 + int(distances.argmax())
            kept[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[kept[:-1]]


def trace_polygons(
    part: npt.NDArray[np.bool_], tolerance: float = 0, cuts: Collection[int] = ()
) -> Iterator[npt.NDArray[np.int64]]:
    """Trace a connected part's outline; one with holes is cut into pieces without.

    Args:
        part: (H, W), its pixels connected by their sides.
        tolerance: In pixels, by which an outline may differ; not where the part was cut.
        cuts: Rows at which it was cut.

    Yields:
        (N, 2) corners, x and y, of polygons whose union is the part.
    """
    holes = scipy.ndimage.binary_fill_holes(part) & ~part
    if not holes.any():
        yield _simplify(_trace_outline(part), tolerance, cuts)
        return
    cut = int(holes.any(axis=1).argmax()) + 1  # below the first row of a hole: it is open then
    for top, piece in ((0, part[:cut]), (cut, part[cut:])):
        pieces, count = scipy.ndimage.label(piece)
        rows = [row - top for row in (*cuts, cut)]
        for number in range(1, count + 1):
            for points in trace_polygons(pieces == number, tolerance, rows):
                yield points + np.array([0, top])


def _trace_outline(part: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Follow the edges between a part without holes and the rest, clockwise: its corners."""
    padded = np.pad(part, 1).astype(np.int8)
    following: dict[tuple[int, ...], tuple[int, ...]] = {}
    for axis, direction in ((0, 1), (0, -1), (1, 1), (1, -1)):
        # An edge along `axis` lies where the part begins (1) or ends (-1).
        y, x = np.nonzero(np.diff(padded, axis=axis) == direction)
        begin = np.column_stack([x - (1 - axis), y - axis])
        end = begin + np.array([1 - axis, axis])
        if (direction == 1) == (axis == 1):
            begin, end = end, begin
        following |= zip(map(tuple, begin.tolist()), map(tuple, end.tolist()), strict=True)
    corners = [min(following)]
    while (corner := following[corners[-1]]) != corners[0]:
        corners.append(corner)
    points = np.array(corners)
    turns = np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0) != 2 * points
    return np.asarray(points[turns.any(axis=1)])


def _classes(mask: LabelMap) -> list[int]:
    return [value for value in np.unique(mask).tolist() if value not in (0, IGNORE_INDEX)]


def _run_lengths(segment: npt.NDArray[np.bool_]) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(segment))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def _annotation(value: int, run_lengths: dict[str, Any]) -> Segment:
    return {
        "category_id": value,
        "segmentation": run_lengths,
        "area": int(rle.area(run_lengths)),
        "bbox": rle.toBbox(run_lengths).tolist(),
        "iscrowd": 0,
    }
