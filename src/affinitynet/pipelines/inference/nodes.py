"""Nodes of the `inference` pipeline."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.label_maps import Classes, list_present
from affinitynet.core.overlay import paint_overlay
from affinitynet.data import coco_export as coco
from affinitynet.data.files import PHOTO_SUFFIXES, Partitions, inspect_photo, is_too_long
from affinitynet.data.parameters import DataSet
from affinitynet.data.tag_file import TagSource, read_known_tags
from affinitynet.data.tagged import TAG_SEPARATOR
from affinitynet.datasets.scored_mask import ScoredMask
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution, map_images
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.pipelines.parameters import InferenceOverrides
from affinitynet.pipelines.per_image import map_items
from affinitynet.pipelines.segmentation.nodes import segment
from affinitynet.stages.refinement import Segmentation

logger = logging.getLogger(__name__)


def inspect_photos(
    images: Partitions[Image.Image], named: str, execution: Execution
) -> pd.DataFrame:
    """Open every photo once, and list the sizes of those that can be read.

    Args:
        images: File name, relative to the folder that has them all, to a function that reads the
            photo.
        named: The parameter `images`: a folder, a pattern, a photo, or `-`.

    Returns:
        One row a photo, by its `id` (the file name without suffix): `file`, `width` and `height`
        as it is seen (after EXIF rotation), and `problem`, empty where there is none.

    Raises:
        UserError: If there is no photo.
    """
    if not images:
        raise UserError(
            f"No photos in '{named}'. Name a folder that holds some "
            f"({', '.join(PHOTO_SUFFIXES)}), a pattern, a photo, or - for a "
            'list on the standard input: --params "images=<folder>,output=<folder>"'
        )
    good = {i: read for i, read in images.items() if _is_utf8(i) and not is_too_long(i)}
    rows = dict.fromkeys(good, (0, 0, "the process that reads it dies, each time"))
    rows |= map_items(inspect_photo, good.items(), execution, "Opening photos", skip=True)
    for name in images.keys() - good.keys():
        why = "too long" if _is_utf8(name) else "not UTF-8"
        rows[_printable(name)] = (0, 0, f"the file's name is {why}; rename it")
    table = pd.DataFrame.from_dict(rows, "index", columns=["width", "height", "problem"])
    table = table.rename_axis("file").reset_index()
    table["id"] = [PurePosixPath(name).with_suffix("").as_posix() for name in table["file"]]
    sound = table["problem"] == ""
    again = sound & table["id"].where(sound).duplicated()
    table.loc[again, "problem"] = "a photo of this name, but another suffix, has the mask already"
    return table.set_index("id")


def _is_utf8(name: str) -> bool:
    return _printable(name) == name


def _printable(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")


def read_tags(
    photos: pd.DataFrame,
    source: TagSource,
    tags: str | None,
    data_set: DataSet,
    model: Checkpoint,
) -> dict[str, list[int]]:
    """Read which classes the photos show.

    Args:
        source: The file, or the files of a folder; None without one.
        tags: Its path.
        data_set: Its `separator` separates the tags in a cell.

    Returns:
        Photo name without suffix to the labels of its tags, of the photos that the file names.

    Raises:
        UserError: If it names none of the photos, or none of the network's classes.
    """
    if tags is None:
        return {}
    classes = model.config["classes"]
    names = {name.casefold(): label for label, name in enumerate(classes, start=1)}
    try:
        known = read_known_tags(photos.index, source, tags, data_set.separator)
    except ValueError as error:
        raise UserError(str(error)) from error
    shown = {tag for some in known.values() for tag in some}
    others = sorted(tag for tag in shown if tag.casefold() not in names)
    if others and len(others) == len(shown):
        raise UserError(
            f"tags={tags}: none of its tags ({', '.join(others)}) is a class of the segmentation "
            f"network: {', '.join(classes)}"
        )
    if others:
        logger.warning("Tags that the network has not learned: %s", ", ".join(others))
    if unknown := len(photos) - len(known):
        logger.warning("%s does not name %d photos: any class may be found there.", tags, unknown)
    return {
        image_id: [names[tag.casefold()] for tag in some if tag.casefold() in names]
        for image_id, some in known.items()
    }


def segment_photos(
    photos: pd.DataFrame,
    model: Checkpoint,
    images: Partitions[Image.Image],
    tagged: dict[str, list[int]],
    inference: InferenceOverrides,
    execution: Execution,
    *wanted: str | None,
) -> Iterator[tuple[dict[str, Image.Image], dict[str, ScoredMask]]]:
    """Segment the photos that can be read.

    Args:
        tagged: From `read_tags`; a photo that is in it shows no other classes.
        wanted: Folders of outputs that have confidences, those that are given: of the confidence
            maps, and of COCO's results.

    Yields:
        Photo name without suffix to its confidence map, if asked for: an 8-bit greyscale image of
        the probability of each pixel's class in 255ths. And to its mask, at the photo's size, in
        mask values. A mask is saved after its confidence map: where there is a mask, there is both.
    """
    sound = photos[photos["problem"] == ""]
    readers = {str(image_id): images[file] for image_id, file in sound["file"].items()}
    given = {name: value for name, value in asdict(inference).items() if value is not None}
    options = SegmentationInference(**model.config.get("inference", {}) | given)
    work = partial(segment, sound, model, readers, options, execution, tagged=tagged)
    if any(wanted):
        for image_id, found in work(save=None):
            yield {image_id: Image.fromarray(found.confidence)}, {image_id: _scored(found)}
    else:
        for image_id, mask in work(save=_scored):
            yield {}, {image_id: mask}
    yield {}, {}  # Kedro wants one at least, also if nothing is left to do


def _scored(found: Segmentation) -> ScoredMask:
    return ScoredMask(found.mask, float(found.confidence.mean() / 255))


def paint_overlays(
    photos: pd.DataFrame,
    images: Partitions[Image.Image],
    masks: Partitions[ScoredMask],
    model: Checkpoint,
    execution: Execution,
) -> Iterator[dict[str, Image.Image]]:
    """Lay the masks over the photos: colours half through, outlines, and the classes' names.

    Yields:
        Photo name without suffix to its overlay, RGB, at the photo's size.
    """
    sound = photos.loc[(photos["problem"] == "") & photos.index.isin([*masks]), "file"]
    items = [
        (str(image_id), images[file], masks[str(image_id)]) for image_id, file in sound.items()
    ]
    do = partial(_overlay, model.config["classes"])
    for image_id, overlay in map_items(do, items, execution, "Painting overlays"):
        yield {image_id: overlay}


def _overlay(classes: Classes, read: Any, read_mask: Any) -> Image.Image:
    from affinitynet.core.images import to_rgb

    return paint_overlay(to_rgb(read()), read_mask().mask, classes)


def summarise_photos(
    photos: pd.DataFrame, masks: Partitions[ScoredMask], model: Checkpoint, execution: Execution
) -> pd.DataFrame:
    """List what each photo shows, and how sure the network is.

    Returns:
        The rows of `photos`, with `classes`, the largest first, and `shares`, of the photo's
        pixels, both joined by `|`; and `confidence`, the mean probability of the pixels' classes.
    """
    described = map_images(
        partial(_describe, model.config["classes"]),
        ((str(image_id), masks[str(image_id)]) for image_id in photos.index if image_id in masks),
        total=len(masks),
        execution=execution,
    )
    columns = ["classes", "shares", "confidence"]
    found = pd.DataFrame.from_dict(dict(described), "index", columns=columns)
    return photos.join(found)


def _describe(classes: Classes, read_mask: Any) -> tuple[str, str, float | None]:
    found = read_mask()
    present = list_present(found.mask, classes)
    shares = TAG_SEPARATOR.join(f"{share:.4f}" for share in present.values())
    return TAG_SEPARATOR.join(present), shares, found.confidence


def gather_coco(
    photos: pd.DataFrame,
    masks: Partitions[ScoredMask],
    confidences: Partitions[Image.Image],
    model: Checkpoint,
    execution: Execution,
) -> tuple[dict[str, Iterator[dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Gather all masks as COCO's results, and describe the photos that they are of.

    Returns:
        `results`, made as they are written: `image_id`, `category_id`, `segmentation`, `score`.
        And `image_info`: COCO's `images` and `categories`.
    """
    sound = photos[(photos["problem"] == "") & photos.index.isin([*masks])].sort_index()
    info = {
        "info": {"description": "Photos segmented by affinitynet"},
        "images": coco.image_entries(sound),
        "categories": coco.categories(model.config["classes"]),
    }
    return {"results": _results(sound, masks, confidences, execution)}, {"image_info": info}


def _results(
    sound: pd.DataFrame,
    masks: Partitions[ScoredMask],
    confidences: Partitions[Image.Image],
    execution: Execution,
) -> Iterator[dict[str, Any]]:
    items = [(i, masks[i], confidences[i]) for i in map(str, sound.index)]
    encoded = map_items(_encode_one, items, execution, "Encoding masks")
    for number, (_, results) in enumerate(encoded, start=1):
        for result in results:
            yield {"image_id": number} | result


def _encode_one(read_mask: Any, read_confidence: Any) -> list[dict[str, Any]]:
    return coco.encode_results(read_mask().mask, np.asarray(read_confidence()))


def report_problems(
    photos: pd.DataFrame,
    folder: str,
    output: str,
    masks: Mapping[str, Any],
    *others: object,
) -> None:
    """Report how many masks this run wrote; fail if photos had to be skipped.

    Args:
        folder: Of the photos, for messages.
        output: Of the masks, for messages.
        masks: The masks that this run wrote; that they are listed makes this the last node.
        others: Other outputs, for the same reason.

    Raises:
        UserError: Naming each photo that was skipped, after all others are done.
    """
    lost = (photos["problem"] == "") & ~photos.index.isin([*masks])
    photos = photos.assign(problem=photos["problem"].mask(lost, "processes died over it"))
    skipped = photos[photos["problem"] != ""]
    if len(skipped):
        rows = zip(skipped["file"], skipped["problem"], strict=True)
        lines = "".join(f"\n  {file}: {problem}" for file, problem in rows)
        raise UserError(
            f"{len(photos) - len(skipped)} of {len(photos)} photos in '{folder}' have their "
            f"masks; {len(skipped)} had to be skipped:{lines}"
        )
    logger.info("%d photos in '%s' have their masks, in '%s'.", len(photos), folder, output)
