"""Label maps as COCO has them: categories, run-length encoded segments, polygons."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy
from pycocotools import mask as rle

from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap

Segment = dict[str, Any]


def categories(classes: Mapping[str, int]) -> list[dict[str, Any]]:
    """List the classes, without background: `id` is the mask value.

    Args:
        classes: Class name to mask value.
    """
    return [{"id": value, "name": name} for name, value in classes.items()]


def image_entries(images: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Describe images, numbered from 1 in the order of their rows.

    Args:
        images: One row an image: `file`, `width` and `height`.

    Yields:
        `id`, `file_name`, `width` and `height`.
    """
    rows = images[["file", "width", "height"]].itertuples(index=False)
    for number, (file, width, height) in enumerate(rows, start=1):
        yield {"id": number, "file_name": file, "width": int(width), "height": int(height)}


def encode_results(mask: LabelMap, confidence: npt.NDArray[np.uint8]) -> list[Segment]:
    """Encode a predicted mask as COCO's results: a segment a class.

    Args:
        mask: (H, W) mask values.
        confidence: (H, W) probability of each pixel's class in 255ths.

    Returns:
        `category_id`, `segmentation` (run lengths) and `score` in [0, 1], the mean probability of
        the segment's pixels.
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
    """Encode a mask as COCO does stuff: an annotation a class, in run lengths.

    Args:
        mask: (H, W) mask values; background and neutral pixels are in no annotation.

    Returns:
        `category_id`, `segmentation`, `area`, `bbox` and `iscrowd`, 0.
    """
    return [_annotation(value, _run_lengths(mask == value)) for value in _classes(mask)]


def encode_components(mask: LabelMap) -> list[Segment]:
    """Encode a mask as COCO does objects: an annotation a connected part of a class, in polygons.

    Args:
        mask: (H, W) mask values; background and neutral pixels are in no annotation.

    Returns:
        As `encode_stuff`. Polygons follow the pixels' edges, so that nothing is lost; a part with
        holes, which COCO's polygons cannot have, is cut into several polygons.
    """
    annotations = []
    for value in _classes(mask):
        parts, _ = scipy.ndimage.label(mask == value)
        for number, box in enumerate(scipy.ndimage.find_objects(parts), start=1):
            rows, columns = box
            part = parts[box] == number
            polygons = [
                (points + np.array([columns.start, rows.start])).ravel().tolist()
                for points in trace_polygons(part)
            ]
            whole = np.zeros(mask.shape, bool)
            whole[box] = part
            annotations.append(_annotation(value, _run_lengths(whole)) | {"segmentation": polygons})
    return annotations


def trace_polygons(part: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.int64]]:
    """Trace a connected part's outline; one with holes is cut into pieces without.

    Args:
        part: (H, W), its pixels connected by their sides.

    Yields:
        (N, 2) corners, x and y, of polygons whose union is the part.
    """
    holes = scipy.ndimage.binary_fill_holes(part) & ~part
    if not holes.any():
        yield _trace_outline(part)
        return
    cut = int(holes.any(axis=1).argmax()) + 1  # below the first row of a hole: it is open then
    for top, piece in ((0, part[:cut]), (cut, part[cut:])):
        pieces, count = scipy.ndimage.label(piece)
        for number in range(1, count + 1):
            for points in trace_polygons(pieces == number):
                yield points + np.array([0, top])


def _trace_outline(part: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Follow the edges between a part without holes and the rest, clockwise: its corners."""
    padded = np.pad(part, 1).astype(np.int8)
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for axis, direction in ((0, 1), (0, -1), (1, 1), (1, -1)):
        # An edge along `axis` lies where the part begins (1) or ends (-1).
        y, x = np.nonzero(np.diff(padded, axis=axis) == direction)
        y, x = y - axis, x - (1 - axis)
        begin = [y, x]
        end = [y + axis, x + (1 - axis)]
        if (direction == 1) == (axis == 1):
            begin, end = end, begin
        following |= zip(_corners(*begin), _corners(*end), strict=True)
    corners = [min(following)]
    while (corner := following[corners[-1]]) != corners[0]:
        corners.append(corner)
    points = np.array(corners)
    turns = np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0) != 2 * points
    return np.asarray(points[turns.any(axis=1)])


def _corners(y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))


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
