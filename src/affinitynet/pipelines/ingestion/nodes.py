"""Nodes of the `ingestion` pipeline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.data.agreement import compare
from affinitynet.data.checks import CRASHES, Inspection, MaskInspection, inspect_mask, inspect_photo
from affinitynet.data.corrections import MAX_VALUE, Corrected, list_problems
from affinitynet.data.files import Partitions, is_too_long
from affinitynet.data.layouts import LAYOUTS
from affinitynet.data.near_duplicates import group_near_duplicates
from affinitynet.data.parameters import DataSet
from affinitynet.data.problems import (
    list_gaps,
    list_mask_problems,
    list_missing,
    list_size_problems,
)
from affinitynet.data.report import (
    count_classes,
    count_together,
    list_warnings,
    one_hot,
    plot_data,
    summarise_photos,
)
from affinitynet.data.split import divide_groups, draw_val
from affinitynet.data.tagged import TAG_SEPARATOR, Findings, Tagged
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError, join_lines
from affinitynet.execution import Execution
from affinitynet.pipelines.per_image import map_items
from affinitynet.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # Matplotlib takes a second to import; Kedro evaluates the annotations of nodes

logger = logging.getLogger(__name__)

TRAINED = ("cam", "affinity_training", "segmentation")
"""Stages that train a network."""


def inspect_photos(
    photos: Partitions[Any], data_set: DataSet, seed: int, execution: Execution, *files: Any
) -> tuple[pd.DataFrame, Findings]:
    """Read the tags, look at every tagged photo once, and draw the split where none is given.

    Args:
        data_set: See `conf/base/parameters.yml`. Its `layout` names the files that count.
        files: VOC's annotations and lists; the tag file, or the files of a folder of annotations;
            the header of the file that masks are drawn from.

    Returns:
        One row per photo, by `id`: `split`, `width` and `height` in pixels, `tags` joined by `|`,
        its `group` of near-duplicates, `problem`, empty where the photo is sound, and `repairs`,
        what was done to read it. And what the files name.

    Raises:
        UserError: If the tags cannot be read at all.
    """
    try:
        tagged = LAYOUTS[data_set.layout].read(photos, data_set, *files)
    except ValueError as error:
        raise UserError(str(error)) from error
    listed = _choose_photos(tagged)
    seen = _look_at(listed.index, photos, execution)
    problems = [*tagged.problems, *list_size_problems(listed, seen)]
    table = listed[["split", "tags"]].join(seen)
    table["group"] = group_near_duplicates(table.pop("hash").tolist())
    warnings = [*tagged.warnings, *_draw_split(table, tagged.classes, data_set.val_share, seed)]
    return table, Findings(
        classes=tagged.classes,
        mask_classes=tagged.mask_classes,
        problems=problems,
        warnings=warnings,
    )


def _choose_photos(tagged: Tagged) -> pd.DataFrame:
    """Join the tags of learned classes; photos of others are left out, but for those of val."""
    table = tagged.photos
    shown = [[name for name in tagged.classes if name in tags] for tags in table["tags"]]
    kept = [bool(some) or not every for some, every in zip(shown, table["tags"], strict=True)]
    table = table.assign(tags=[TAG_SEPARATOR.join(tags) for tags in shown])
    return table[np.array(kept, bool) | (table["split"] == "val").to_numpy()]


def _look_at(ids: pd.Index, photos: Partitions[Any], execution: Execution) -> pd.DataFrame:
    """Read each photo once: one row per photo, see `Inspection`."""
    items = [(image_id, photos[image_id]) for image_id in ids]
    looks = map_items(inspect_photo, items, execution, "Looking at the photos", skip=True)
    every = dict.fromkeys(ids, CRASHES) | dict(looks)
    seen = pd.DataFrame.from_dict(every, orient="index", columns=[*Inspection._fields])
    long = [is_too_long(image_id) for image_id in seen.index]
    seen.loc[long, ["hash", "problem"]] = "", "has too long a name; rename it"
    return seen


def _draw_split(table: pd.DataFrame, classes: Classes, share: float, seed: int) -> list[str]:
    """Draw val in place where the files name no split; return warnings."""
    if not len(table) or (table["split"] != "").any():
        return []
    sound = table["problem"] == ""
    flags = one_hot(table[sound], classes).to_numpy(bool)
    groups, divided = divide_groups(flags, table.loc[sound, "group"].to_numpy(), share)
    val = draw_val(flags, groups, share, seed)
    table.loc[sound, "split"] = np.where(val, "val", "train")
    return [
        f"{len(rows)} near-duplicates ({table.index[sound][rows[0]]}, …) are all the photos of "
        "a class, or nearly all there are: they are divided between train and val, so that "
        "the scores of val flatter; give a column `split` if you have other photos for val"
        for rows in divided
    ]


def check_data_set(
    inspected: pd.DataFrame,
    findings: Findings,
    masks: Partitions[LabelMap],
    data_set: DataSet,
    parameters: dict[str, Any],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, Figure]:
    """Check the masks, report on the data set, and stop if something is wrong with it.

    Args:
        parameters: All of them: the folders, and how each stage is trained.

    Returns:
        The report; the photos of each class; how many photos show each two classes; a figure.

    Raises:
        UserError: With one line per problem.
    """
    classes, sound = findings["classes"], inspected[inspected["problem"] == ""]
    masked = inspected[inspected.index.isin([*masks])]
    problems = [*findings["problems"]]
    problems += list_missing(inspected, masks, data_set, parameters["mask_folder"])
    if not findings["problems"]:  # the following ones are likely a consequence
        problems += list_gaps(sound, classes, data_set.val_share, _batch_sizes(parameters))
    layout = LAYOUTS[data_set.layout]
    more, warnings = _check_masks(masked, findings, masks, layout.mask_names, execution)
    if problems := [*problems, *more]:
        for line in findings["warnings"]:  # they may be the reason; half characters cannot be shown
            logger.warning(line.encode(errors="backslashreplace").decode())
        raise UserError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} with the data set in "
            f"'{parameters[layout.folder]}' (parameter {layout.folder}):" + join_lines(problems)
        )
    ids = [*map(str, masked.index)]
    warnings = [*findings["warnings"], *warnings, *list_warnings(inspected, classes, ids)]
    for line in warnings:
        logger.warning(line)
    counts, together = count_classes(sound, classes), count_together(sound, classes)
    report = summarise_photos(inspected, classes, ids) | {"warnings": warnings}
    return report, counts, together, plot_data(sound, counts, together)


def _check_masks(
    masked: pd.DataFrame,
    findings: Findings,
    masks: Partitions[LabelMap],
    parameter: str,
    execution: Execution,
) -> tuple[list[str], list[str]]:
    """Check each mask, and all against the tags: problems and warnings."""
    classes, names = findings["classes"], findings["mask_classes"]
    looks = _look_at_masks(masked, masks, len(names), execution, "Checking the masks")
    wrong: dict[str, list[str]] = {}
    for image_id, look in looks.items():
        for line in look.problems:
            wrong.setdefault(line, []).append(image_id)
    shown = {i: look.shown for i, look in looks.items() if look.shown is not None}
    agreement = compare(_list_tags(masked), shown, classes, names, parameter)
    binary = getattr(masks, "binary", False)
    problems = [*list_mask_problems(wrong, agreement, len(names), binary=binary)]
    known = [f"the masks have the values 0 and 255 only: 255 is {', '.join(classes)}"]
    return problems, [*agreement.warnings, *(known if binary else ())]


def _list_tags(images: pd.DataFrame) -> dict[str, list[str]]:
    return {str(i): tags.split(TAG_SEPARATOR) for i, tags in images["tags"].items()}


def _look_at_masks(
    images: pd.DataFrame,
    masks: Partitions[LabelMap],
    num_values: int,
    execution: Execution,
    description: str,
) -> dict[str, MaskInspection]:
    """Read the masks of images once."""
    sizes = images[["width", "height"]].itertuples()
    items = [(str(i), masks[str(i)], int(w), int(h), num_values) for i, w, h in sizes]
    return dict(map_items(inspect_mask, items, execution, description))


def _batch_sizes(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Batch sizes of the stages that train, whose blocks Kedro has built or not."""
    read = TypeAdapter(TrainingParameters).validate_python
    blocks = [parameters[stage] for stage in TRAINED]
    trained = [read(b["training"] if isinstance(b, dict) else b.training) for b in blocks]
    return {i: each.batch_size for i, each in zip(TRAINED, trained, strict=True) if each.epochs}


def build_index(inspected: pd.DataFrame, findings: Findings) -> tuple[pd.DataFrame, dict[str, int]]:
    """Gather split, size and tags of every sound photo in one table. Masks are not looked at.

    Returns:
        The index: one row per photo, by `id`: `split` (train or val), `width`, `height` in pixels,
        `tags` (class names joined by `|`, empty where it shows none). And the classes: name to
        mask value, in the order of their labels 1, 2, ….

    Raises:
        UserError: If something is wrong with the tags, and the check was left out.
    """
    if findings["problems"]:
        raise UserError("The data set has problems: kedro run --pipeline ingestion lists them.")
    sound = inspected[inspected["problem"] == ""]
    return sound[["split", "width", "height", "tags"]], findings["classes"]


def check_corrections(
    index: pd.DataFrame, classes: Classes, corrected: Corrected, execution: Execution
) -> dict[str, Any]:
    """Read the corrected masks once, and stop if something is wrong with them.

    Returns:
        `photos`, how many are trained on; `val`, the corrected photos of val, which are not.

    Raises:
        UserError: With one line per problem.
    """
    matched = corrected.match(index)
    own = {i: corrected.masks[name] for i, name in matched.files.items()}
    train = index[(index["split"] == "train") & index.index.isin([*own])]
    looks = _look_at_masks(train, own, MAX_VALUE, execution, "Checking the corrected masks")
    problems = [
        *matched.problems,
        *list_problems(corrected, looks, _list_tags(train), classes),
    ]
    if not problems and not looks:
        problems.append(f"none of the {len(corrected.masks)} masks is of a training photo")
    if problems:
        title = f"corrected={corrected.path}: the masks cannot be trained on:"
        raise UserError(title + join_lines(problems))
    val = sorted(own.keys() - looks.keys())
    for note in matched.notes:
        logger.warning(note.replace("masks=", "corrected=", 1))
    if val:
        logger.warning(
            "corrected=%s: %d photos are of val, such as %s. They are not trained on, so that val "
            "stays unseen",
            *(corrected.path, len(val), val[0]),
        )
    logger.info("%d photos of train have a corrected mask.", len(looks))
    return {"photos": len(looks), "val": val}
