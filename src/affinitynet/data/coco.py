"""COCO's instances: categories, and masks drawn from polygons and run lengths."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap


def category_values(categories: list[dict[str, Any]]) -> dict[str, int]:
    """Number the categories 1, 2, … in the order of their ids, which may begin at 0."""
    names = [str(each["name"]) for each in sorted(categories, key=lambda each: each["id"])]
    return {name: value for value, name in enumerate(names, start=1)}


def read_masks(coco: Mapping[str, Any]) -> dict[str, Callable[[], LabelMap]]:
    """Make functions that draw the masks of COCO's images.

    Args:
        coco: `images`, `annotations` and `categories`, as COCO's instance files have them.

    Returns:
        File name without suffix to a function that draws the mask, see `draw_mask`.
    """
    values = category_values(coco["categories"])
    by_id = {each["id"]: values[str(each["name"])] for each in coco["categories"]}
    instances: dict[Any, list[tuple[Any, int]]] = {each["id"]: [] for each in coco["images"]}
    for each in sorted(coco["annotations"], key=lambda each: -each.get("area", 0)):
        if each.get("segmentation"):
            value = IGNORE_INDEX if each.get("iscrowd") else by_id[each["category_id"]]
            instances[each["image_id"]].append((each["segmentation"], value))
    return {
        PurePosixPath(image["file_name"]).with_suffix("").as_posix(): partial(
            draw_mask, instances[image["id"]], image["height"], image["width"]
        )
        for image in coco["images"]
    }


def draw_mask(instances: list[tuple[Any, int]], height: int, width: int) -> LabelMap:
    """Draw instances into one mask, later ones over earlier ones.

    Args:
        instances: Polygons, or COCO's run lengths, and the mask value of each.
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.

    Returns:
        (H, W) uint8.
    """
    mask: npt.NDArray[np.uint8] = np.zeros((height, width), np.uint8)
    for shape, value in instances:
        if isinstance(shape, list):
            runs = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
        elif isinstance(shape["counts"], list):
            runs = coco_mask.frPyObjects(shape, height, width)
        else:
            runs = shape
        mask[coco_mask.decode(runs) > 0] = value
    return mask
