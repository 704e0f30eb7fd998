"""Nodes of the `ingestion` pipeline."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from affinitynet.errors import UserError
from affinitynet.execution import Execution, stream
from affinitynet.pipelines.ingestion.voc import (
    annotated_size,
    list_image_problems,
    list_problems,
    parse_annotation,
    parse_split,
)

Readers = Mapping[str, Callable[[], Any]]
MAX_LINES = 100
"""Problems printed at most; the rest is counted."""


def check_data_set(
    photos: Readers,
    masks: Readers,
    annotations: Readers,
    splits: Readers,
    data_set: dict[str, Any],
    root: str,
    execution: Execution,
) -> dict[str, Any]:
    """Check everything that the run will read, and report all that is wrong at once.

    Args:
        photos: Image id to a function that reads the photo.
        masks: Image id to a function that reads the mask.
        annotations: Image id to a function that reads the annotation.
        splits: List name to a function that reads it.
        data_set: `classes`, `mask_classes` and `splits` of the parameters.
        root: The data set's folder, for messages.
        execution: Processes.

    Returns:
        The numbers of photos and masks found in each split.

    Raises:
        UserError: With one line a problem.
    """
    problems = list(
        list_problems(
            photos=photos,
            annotations=annotations,
            splits=splits,
            masks=masks,
            split_names=data_set["splits"],
            classes=data_set["classes"],
            mask_classes=data_set["mask_classes"],
        )
    )
    ids = {
        split: [i for i in parse_split(splits[file]()) if i in photos] if file in splits else []
        for split, file in data_set["splits"].items()
    }
    every = [image_id for names in ids.values() for image_id in names]
    num_values = len(data_set["mask_classes"])
    items = (
        (i, i, photos[i], annotated_size(annotations.get(i)), masks.get(i), num_values)
        for i in every
    )
    for chunk in stream(
        list_image_problems,
        items,
        total=len(every),
        execution=execution,
        description="Checking photos and masks",
    ):
        problems += [line for lines in chunk.values() for line in lines]
    if problems:
        lines = "".join(f"\n  {line}" for line in problems[:MAX_LINES])
        more = len(problems) - MAX_LINES
        raise UserError(
            f"{len(problems)} problems with the data set in '{root}' (parameter voc_root):{lines}"
            + (f"\n  … and {more} more" if more > 0 else "")
        )
    return {
        split: {"photos": len(names), "masks": sum(i in masks for i in names)}
        for split, names in ids.items()
    }


def build_index(
    photos: Readers, annotations: Readers, splits: Readers, data_set: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Gather split, size and tags of every image in one table. Masks are not looked at.

    Args:
        photos: Image id to a function that reads the photo; only the ids are used.
        annotations: Image id to a function that reads the annotation.
        splits: List name to a function that reads it.
        data_set: `classes`, `mask_classes` and `splits` of the parameters.

    Returns:
        The index: one row an image, by `id`: `split` (train or val), `width`, `height` in
        pixels, `tags` (class names joined by `|`; tags that are not among `classes` are left
        out). And the classes: name to mask value, in the order of their labels 1, 2, ….

    Raises:
        UserError: If no training image shows any of the classes.
    """
    classes = {name: data_set["mask_classes"].index(name) + 1 for name in data_set["classes"]}
    rows = []
    for split, file in data_set["splits"].items():
        for image_id in parse_split(splits[file]()):
            annotation = parse_annotation(annotations[image_id]())
            tags = [name for name in classes if name in annotation.tags]
            if tags or split == "val":
                rows.append(
                    {
                        "id": image_id,
                        "split": split,
                        "width": annotation.width,
                        "height": annotation.height,
                        "tags": "|".join(tags),
                    }
                )
    if not any(row["split"] == "train" for row in rows):
        raise UserError(
            f"no image of the training list '{data_set['splits']['train']}' has a tag among "
            f"{', '.join(classes)} (parameter data_set.classes)"
        )
    return pd.DataFrame(rows).set_index("id"), classes
