"""Nodes of the `labels_export` pipeline."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import Classes, LabelMap, decode, encode
from affinitynet.data import coco_export as coco
from affinitynet.data import label_studio
from affinitynet.data.corrections import Corrected, corrected_labels, corrected_photos
from affinitynet.data.files import Partitions
from affinitynet.data.labelmap import format_labelmap
from affinitynet.data.voc import format_annotation
from affinitynet.datasets.folder import source
from affinitynet.datasets.stored_file import LocalFile
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution, chunks, map_images
from affinitynet.pipelines.parameters import LabelsExport
from affinitynet.pipelines.per_image import map_items, sizes_of

logger = logging.getLogger(__name__)

SPLITS = ("train", "val")
SOURCES = {"train": "pseudo label", "val": "prediction"}
"""Split to what its labels are: a data set's own masks are never exported."""
CORRECTED = "corrected"
"""Source of labels that were corrected by hand."""


def select_images(
    index: pd.DataFrame,
    labels: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    corrected: Corrected,
) -> pd.DataFrame:
    """Select the images that have labels: pseudo labels in train, predictions in val.

    Returns:
        Those rows of the index, with `file`, the photo's name in the new data set, and `source`,
        what its labels are.
    """
    true = corrected_photos(corrected, index)
    train = (index["split"] == "train") & index.index.isin([*labels, *true])
    val = (index["split"] == "val") & index.index.isin([*predictions])
    images = index[train | val]
    sources = images["split"].map(SOURCES).mask(images.index.isin([*true]), CORRECTED)
    logger.info(
        "Labels of %d training photos, of which %d are corrected; of %d of val.",
        *(train.sum(), len(true), val.sum()),
    )
    return images.assign(file=images.index + ".jpg", source=sources)


def _labels(
    images: pd.DataFrame,
    labels: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    corrected: Corrected,
    classes: Classes,
) -> Partitions[LabelMap]:
    """Read each image's best labels: those that are corrected first."""
    return {**predictions, **labels, **corrected_labels(corrected, images, classes)}


def take_photos(
    images: pd.DataFrame, photos: Partitions[Any], options: LabelsExport, execution: Execution
) -> Iterator[dict[str, bytes | LocalFile]]:
    """Take the photos over: upright JPEG files as they are, all others as JPEG.

    Yields:
        Image id to the file to take over, or to the bytes of a new JPEG file.
    """
    items = [(image_id, photos[image_id]) for image_id in images.index]
    do = partial(_take_photo, options.photos == "link", options.quality)
    yield from chunks(map_items(do, items, execution, "Taking over photos"))


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
    labels: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    corrected: Corrected,
    classes: Classes,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Bring the labels to the photos' size.

    Args:
        classes: Class name to mask value; other values become neutral, 255.

    Yields:
        Image id to its label map (height, width), in mask values.
    """
    items = _with_sizes(images, _labels(images, labels, predictions, corrected, classes))
    do = partial(_at_photo_size, list(classes.values()))
    yield from chunks(map_items(do, items, execution, "Taking over labels"))


def _with_sizes(
    images: pd.DataFrame, labels: Partitions[LabelMap]
) -> list[tuple[str, Any, tuple[int, int]]]:
    return [(image_id, labels[image_id], size) for image_id, size in sizes_of(images).items()]


def _at_photo_size(values: list[int], read: Any, size: tuple[int, int]) -> LabelMap:
    return resize_labels(encode(decode(read(), values), values), size)


def describe_voc(
    images: pd.DataFrame, classes: Classes
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Write what VOC's layout has beside photos and masks.

    Returns:
        Image id to its annotation, XML with the tags; the lists train, val and trainval; and
        `label`, the names and colours of the mask values as CVAT's labelmap.txt has them.
    """
    annotations = {
        str(image_id): format_annotation(
            row["file"],
            row["width"],
            row["height"],
            row["tags"].split("|") if row["tags"] else (),
            source=CORRECTED if row["source"] == CORRECTED else f"{row['source']} by affinitynet",
        )
        for image_id, row in images.iterrows()
    }
    ids = {split: [*images.index[images["split"] == split]] for split in SPLITS}
    lists = {
        name: "".join(f"{image_id}\n" for image_id in names)
        for name, names in {**ids, "trainval": [*images.index]}.items()
    }
    return annotations, lists, {"label": format_labelmap(classes)}


def describe_coco(
    images: pd.DataFrame,
    labels: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    corrected: Corrected,
    classes: Classes,
    options: LabelsExport,
    execution: Execution,
) -> dict[str, dict[str, Any]]:
    """Write the labels as COCO's annotations.

    Returns:
        `instances_train` and `instances_val`; their annotations are made as they are written.
    """
    labels = _labels(images, labels, predictions, corrected, classes)
    files = {}
    for split in SPLITS:
        rows = images[images["split"] == split]
        files[f"instances_{split}"] = {
            "info": {"description": f"{SOURCES[split].capitalize()}s by affinitynet"},
            "categories": coco.categories(classes),
            "images": coco.image_entries(rows),
            "annotations": _annotations(rows, labels, classes, options, execution),
        }
    return files


def _annotations(
    images: pd.DataFrame,
    labels: Partitions[LabelMap],
    classes: Classes,
    options: LabelsExport,
    execution: Execution,
) -> Iterator[dict[str, Any]]:
    encoded = map_images(
        partial(_encode_one, list(classes.values()), options),
        _with_sizes(images, labels),
        total=len(images),
        execution=execution,
    )
    ids = count(1)
    for number, (_, found) in enumerate(encoded, start=1):
        for annotation in found:
            yield {"id": next(ids), "image_id": number} | annotation


def _encode_one(
    values: list[int], options: LabelsExport, read: Any, size: tuple[int, int]
) -> list[dict[str, Any]]:
    mask = _at_photo_size(values, read, size)
    if options.segments == "rle":
        return coco.encode_stuff(mask)
    polygons = options.polygons
    return coco.encode_components(
        mask,
        min_area=polygons.min_share * mask.size,
        tolerance=polygons.tolerance * max(mask.shape),
    )


def describe_label_studio(
    images: pd.DataFrame,
    labels: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    corrected: Corrected,
    maps: Partitions[ClassMaps],
    classes: Classes,
    execution: Execution,
) -> tuple[dict[str, Iterator[dict[str, Any]]], dict[str, str]]:
    """Write the labels as Label Studio's predictions, to be corrected there.

    Corrected masks are its annotations.

    Args:
        maps: The random walk's, which pseudo labels have their score of: the mean share of the
            best class in the scores of a pixel.

    Returns:
        `tasks`, which are made as they are written; and `config`, the project's labels.
    """
    tasks = map_images(
        partial(_make_task, classes),
        (
            (image_id, row["file"], row["source"], *read, maps.get(str(image_id)))
            for (image_id, row), (_, *read) in zip(
                images.iterrows(),
                _with_sizes(images, _labels(images, labels, predictions, corrected, classes)),
                strict=True,
            )
        ),
        total=len(images),
        execution=execution,
    )
    config = label_studio.labelling_config(classes)
    return {"tasks": (task for _, task in tasks)}, {"config": config}


def _make_task(
    classes: Classes,
    file: str,
    source: str,
    read: Any,
    size: tuple[int, int],
    read_maps: Any,
) -> dict[str, Any]:
    mask = _at_photo_size([*classes.values()], read, size)
    if source == CORRECTED:
        return label_studio.make_task(f"images/{file}", mask, classes)
    score = None
    if read_maps is not None:
        scores = read_maps().maps.astype(np.float32)
        score = float((scores.max(axis=0) / np.maximum(scores.sum(axis=0), 1e-9)).mean())
    return label_studio.make_task(f"images/{file}", mask, classes, model=source, score=score)
