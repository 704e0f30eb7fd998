"""Masks that are drawn from the outlines in a tag file: COCO, CVAT, LabelMe, Label Studio, YOLO."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap
from affinitynet.data.files import Partitions
from affinitynet.data.matching import PhotoFinder
from affinitynet.data.names import clean_tags, is_background, normal_form
from affinitynet.data.rows import Row, TagFile, count_notes
from affinitynet.data.shapes import Shape


@dataclass(frozen=True)
class DrawnMasks:
    """Masks that a file's outlines make.

    Attributes:
        masks: Photo id to a function that draws the mask.
        classes: Names of the mask values 1, 2, ….
        notes: Skipped entries, one line each.
    """

    masks: dict[str, Callable[[], LabelMap]]
    classes: list[str]
    notes: list[str]


def draw_masks(given: TagFile, photos: Partitions[Any], path: str) -> DrawnMasks:
    """Bring outlines and photos together.

    A photo with a tag that has no outline gets no mask: its pixels would count as background. The
    photos are read where the file does not give their size.

    Raises:
        ValueError: If it has no outlines, or too many classes.
    """
    if not any(row.shapes for row in given.rows):
        raise ValueError(
            f"masks={path}: has no outlines to draw masks from (boxes and tags are not enough)"
        )
    tags = {tag for row in given.rows for tag in clean_tags(row.tags)}
    classes = clean_tags(given.classes) if given.classes else sorted(tags)
    values = {name: value for value, name in enumerate(classes, start=1)}
    names = {normal_form(tag) for row in given.rows for tag in row.tags}
    values |= {name: 0 for name in names if is_background(name)}
    finder = PhotoFinder(photos)
    found: dict[str, list[Row]] = {}
    absent = 0
    for row in given.rows:
        if (image_id := finder.find(row.file)) is not None:
            found.setdefault(image_id, []).append(row)
        else:
            absent += 1
    masks: dict[str, Callable[[], LabelMap]] = {}
    for image_id, rows in found.items():
        shapes = tuple(shape for row in rows for shape in row.shapes)
        outlined = {shape.label for shape in shapes}
        if not outlined.issuperset(clean_tags(tag for row in rows for tag in row.tags)):
            continue
        height, width = max((row.height, row.width) for row in rows)
        read = None if height and width else photos[image_id]
        masks[image_id] = partial(_draw, shapes, values, height, width, read)
    counts = {
        "images that are not in the folder, their masks are left out": absent,
        "photos with a tag that has no outline, they have no mask": len(found) - len(masks),
    }
    if len(classes) >= IGNORE_INDEX:
        raise ValueError(
            f"masks={path}: {len(classes)} classes are too many: masks have "
            f"{IGNORE_INDEX - 1} values"
        )
    return DrawnMasks(masks, classes, [*given.notes, *count_notes(path, counts)])


def _draw(
    shapes: Iterable[Shape],
    values: Mapping[str, int],
    height: int,
    width: int,
    read: Callable[[], Any] | None,
) -> LabelMap:
    """Draw shapes, smaller ones over larger ones; those without a value are left out.

    Raises:
        ValueError: If run lengths are of another size than the photo.
    """
    if read is not None:
        width, height = read().size
    mask: LabelMap = np.zeros((height, width), np.uint8)
    known = (shape for shape in shapes if shape.label in values)
    runs = [(shape.encode(height, width), shape.label) for shape in known]
    for run, label in sorted(runs, key=lambda each: -int(coco_mask.area(each[0]))):
        if tuple(run["size"]) != mask.shape:
            raise ValueError(f"run lengths of '{label}' are not of the photo, {width} x {height}")
        mask[coco_mask.decode(run) > 0] = values[label]
    return mask
