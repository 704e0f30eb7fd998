"""Nodes of the `labels_export` pipeline."""

import logging
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import LabelMap, decode, encode, voc_palette
from affinitynet.data import coco_export as coco
from affinitynet.data.files import Readers
from affinitynet.data.voc import format_annotation
from affinitynet.datasets.folder import source
from affinitynet.datasets.stored_file import LocalFile
from affinitynet.errors import UserError
from affinitynet.execution import Execution, map_images, map_in_chunks

logger = logging.getLogger(__name__)

PHOTOS = ("copy", "link")
SEGMENTS = {"rle": coco.encode_stuff, "polygons": coco.encode_components}
SPLITS = ("train", "val")


def select_images(
    index: pd.DataFrame, labels: Readers, masks: Readers, options: dict[str, Any]
) -> pd.DataFrame:
    """Select the images that have labels: pseudo labels in train, the data set's masks in val.

    Args:
        index: The images of the data set.
        labels: Image id to a function that reads the pseudo labels.
        masks: Image id to a function that reads the data set's own mask; none may be there.
        options: `photos`, `quality` and `segments` of the parameters.

    Returns:
        Those rows of the index, with `file`, the photo's name in the new data set.

    Raises:
        UserError: If an option is none that there is.
    """
    for name, known in (("photos", PHOTOS), ("segments", tuple(SEGMENTS))):
        if options[name] not in known:
            raise UserError(
                f"parameter labels_export.{name}: '{options[name]}' is none of {', '.join(known)}"
            )
    if not 1 <= options["quality"] <= 100:
        raise UserError(
            f"parameter labels_export.quality is {options['quality']}; it must be 1 … 100"
        )
    train = (index["split"] == "train") & index.index.isin([*labels])
    val = (index["split"] == "val") & index.index.isin([*masks])
    return index[train | val].assign(file=lambda table: table.index + ".jpg")


def take_photos(
    images: pd.DataFrame, photos: Readers, options: dict[str, Any], execution: Execution
) -> Iterator[dict[str, bytes | LocalFile]]:
    """Take the photos over: upright JPEG files as they are, all others as JPEG.

    Args:
        images: What `select_images` gives.
        photos: Image id to a function that reads the photo.
        options: `photos`, whether files are copied or linked; `quality` of new JPEG files.
        execution: Processes.

    Yields:
        Image id to the file to take over, or to the bytes of a new JPEG file.
    """
    yield from map_in_chunks(
        partial(_take_photo, options["photos"] == "link", options["quality"]),
        ((image_id, photos[image_id]) for image_id in images.index),
        total=len(images),
        execution=execution,
        description="Taking over photos",
    )


def _take_photo(link: bool, quality: int, read: Any) -> bytes | LocalFile:
    from affinitynet.core.images import is_upright_jpeg, to_rgb

    path = Path(source(read))
    if path.is_file() and is_upright_jpeg(path):
        return LocalFile(path.resolve(), link)
    file = BytesIO()
    to_rgb(read()).save(file, "jpeg", quality=quality)
    return file.getvalue()


def take_labels(
    images: pd.DataFrame,
    labels: Readers,
    masks: Readers,
    classes: dict[str, int],
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Bring the labels to the photos' size.

    Args:
        images: What `select_images` gives.
        labels: Image id to a function that reads the pseudo labels.
        masks: Image id to a function that reads the data set's own mask.
        classes: Class name to mask value; other values become neutral, 255.
        execution: Processes.

    Yields:
        Image id to its label map (height, width), in mask values.
    """
    yield from map_in_chunks(
        partial(_at_photo_size, list(classes.values())),
        _with_sizes(images, labels, masks),
        total=len(images),
        execution=execution,
        description="Taking over labels",
    )


def _with_sizes(
    images: pd.DataFrame, labels: Readers, masks: Readers
) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    rows = images[["split", "height", "width"]].itertuples()
    for image_id, split, height, width in rows:
        yield image_id, (labels if split == "train" else masks)[image_id], (height, width)


def _at_photo_size(values: list[int], read: Any, size: tuple[int, int]) -> LabelMap:
    return resize_labels(encode(decode(read(), values), values), size)


def describe_voc(
    images: pd.DataFrame, classes: dict[str, int]
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Write what VOC's layout has beside photos and masks.

    Args:
        images: What `select_images` gives.
        classes: Class name to mask value.

    Returns:
        Image id to its annotation, XML with the tags; the lists train, val and trainval; and
        `label`, the names and colours of the mask values as CVAT's labelmap.txt has them.
    """
    annotations = {
        str(image_id): format_annotation(
            row["file"], row["width"], row["height"], row["tags"].split("|") if row["tags"] else ()
        )
        for image_id, row in images.iterrows()
    }
    ids = {split: [*images.index[images["split"] == split]] for split in SPLITS}
    lists = {
        name: "".join(f"{image_id}\n" for image_id in names)
        for name, names in {**ids, "trainval": [*images.index]}.items()
    }
    colours = {
        name: ",".join(map(str, voc_palette()[value]))
        for name, value in {"background": 0, **classes}.items()
    }
    header = "# label:color_rgb:parts:actions\n"
    label_map = header + "".join(f"{name}:{colour}::\n" for name, colour in colours.items())
    return annotations, lists, {"label": label_map}


def describe_coco(
    images: pd.DataFrame,
    labels: Readers,
    masks: Readers,
    classes: dict[str, int],
    options: dict[str, Any],
    execution: Execution,
) -> dict[str, dict[str, Any]]:
    """Write the labels as COCO's annotations.

    Args:
        images: What `select_images` gives.
        labels: Image id to a function that reads the pseudo labels.
        masks: Image id to a function that reads the data set's own mask.
        classes: Class name to mask value.
        options: `segments`: `rle` for an annotation a class, `polygons` for one a connected part.
        execution: Processes.

    Returns:
        `instances_train` and `instances_val`; their annotations are made as they are written.
    """
    files = {}
    for split in SPLITS:
        rows = images[images["split"] == split]
        files[f"instances_{split}"] = {
            "info": {"description": "Pseudo labels by affinitynet"},
            "categories": coco.categories(classes),
            "images": coco.image_entries(rows),
            "annotations": _annotations(
                rows, labels, masks, classes, options["segments"], execution
            ),
        }
    return files


def _annotations(
    images: pd.DataFrame,
    labels: Readers,
    masks: Readers,
    classes: dict[str, int],
    segments: str,
    execution: Execution,
) -> Iterator[dict[str, Any]]:
    encoded = map_images(
        partial(_encode_one, list(classes.values()), segments),
        _with_sizes(images, labels, masks),
        total=len(images),
        execution=execution,
    )
    annotation_id = 0
    for number, (_, annotations) in enumerate(encoded, start=1):
        for annotation in annotations:
            annotation_id += 1
            yield {"id": annotation_id, "image_id": number} | annotation


def _encode_one(
    values: list[int], segments: str, read: Any, size: tuple[int, int]
) -> list[dict[str, Any]]:
    return SEGMENTS[segments](_at_photo_size(values, read, size))
