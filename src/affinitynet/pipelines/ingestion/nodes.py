"""Nodes of the `ingestion` pipeline."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from affinitynet.core.images import TURNED
from affinitynet.core.label_maps import LabelMap
from affinitynet.data.agreement import compare
from affinitynet.data.checks import (
    CRASHES,
    UNKNOWN_VALUES,
    Inspection,
    MaskInspection,
    inspect_mask,
    inspect_photo,
)
from affinitynet.data.corrections import MAX_VALUE, Corrected, list_problems
from affinitynet.data.files import Partitions, is_too_long
from affinitynet.data.near_duplicates import group_near_duplicates
from affinitynet.data.report import (
    count_classes,
    count_together,
    list_warnings,
    one_hot,
    plot_data,
    summarise_photos,
)
from affinitynet.data.split import divide_groups, draw_val
from affinitynet.data.tag_file import read_tagged
from affinitynet.data.tagged import TAG_SEPARATOR, Tagged
from affinitynet.data.voc import read_voc
from affinitynet.errors import UserError
from affinitynet.execution import Execution, map_in_chunks
from affinitynet.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # Matplotlib takes a second to import; Kedro evaluates the annotations of nodes

logger = logging.getLogger(__name__)

TRAINED = ("cam", "affinity_training", "segmentation")
"""Stages that train a network."""
MAX_NAMED = 5
"""Photos in a line."""
MAX_LINES = 100
"""Problems printed at most; the rest is counted."""


@dataclass(frozen=True)
class Layout:
    """How a data set's files name the tags, and how messages name the files.

    Attributes:
        read: Maps the photos, `data_set` and the files of all layouts to `Tagged`.
        folder: Parameter that names the data set's folder.
        masks_given: What `--params` takes to find the masks.
        mask_names: Parameter that names the mask values.
    """

    read: Callable[..., Tagged]
    folder: str
    masks_given: str
    mask_names: str


LAYOUTS = {
    "voc": Layout(
        lambda photos, data_set, annotations, splits, *_: read_voc(
            photos, data_set, annotations, splits
        ),
        folder="voc_root",
        masks_given="voc_root=<path>,mask_folder=<name>",
        mask_names="data_set.mask_classes",
    ),
    "tagged": Layout(
        lambda photos, data_set, _, __, tags, header: read_tagged(photos, data_set, tags, header),
        folder="images",
        masks_given="masks=<path>",
        mask_names="mask_classes",
    ),
}
"""By `data_set.layout`."""


def inspect_photos(
    photos: Partitions[Any], data_set: dict[str, Any], seed: int, execution: Execution, *files: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the tags, look at every tagged photo once, and draw the split where none is given.

    Args:
        photos: Of each image.
        data_set: See `conf/base/parameters.yml`. Its `layout` names the files that count.
        seed: Of the drawn split.
        execution: Processes.
        files: VOC's annotations and lists; the tag file, or the files of a folder of annotations;
            the header of the file that masks are drawn from.

    Returns:
        One row per photo, by `id`: `split`, `width` and `height` in pixels, `tags` joined by `|`,
        its `group` of near-duplicates, `problem`, empty where the photo is sound, and `repairs`,
        what was done to read it. And what the files name: `classes`, `mask_classes`, `problems`,
        `warnings`.

    Raises:
        UserError: If the tags cannot be read at all.
    """
    try:
        tagged = LAYOUTS[data_set["layout"]].read(photos, data_set, *files)
    except ValueError as error:
        raise UserError(str(error)) from error
    listed = _choose_photos(tagged)
    seen = _look_at(listed.index, photos, execution)
    problems = [*tagged.problems, *(_size_problems(listed, seen) if "width" in listed else ())]
    table = listed[["split", "tags"]].join(seen)
    table["group"] = group_near_duplicates(table.pop("hash").tolist())
    divided = _draw_split(table, tagged.classes, data_set, seed)
    return table, {
        "classes": tagged.classes,
        "mask_classes": tagged.mask_classes,
        "problems": problems,
        "warnings": [*tagged.warnings, *divided],
    }


def _choose_photos(tagged: Tagged) -> pd.DataFrame:
    """Join the tags of learned classes; photos of others are left out, but for those of val."""
    table = tagged.photos
    shown = [[name for name in tagged.classes if name in tags] for tags in table["tags"]]
    kept = [bool(some) or not every for some, every in zip(shown, table["tags"], strict=True)]
    table = table.assign(tags=[TAG_SEPARATOR.join(tags) for tags in shown])
    return table[np.array(kept, bool) | (table["split"] == "val").to_numpy()]


def _look_at(ids: pd.Index, photos: Partitions[Any], execution: Execution) -> pd.DataFrame:
    """Read each photo once: one row per photo, see `Inspection`."""
    looks: dict[str, Inspection] = dict.fromkeys(ids, CRASHES)
    for chunk in map_in_chunks(
        inspect_photo,
        ((image_id, photos[image_id]) for image_id in ids),
        total=len(ids),
        execution=execution,
        description="Looking at the photos",
        skip=True,
    ):
        looks.update(chunk)
    seen = pd.DataFrame.from_dict(looks, orient="index", columns=[*Inspection._fields])
    long = [is_too_long(image_id) for image_id in seen.index]
    seen.loc[long, ["hash", "problem"]] = "", "has too long a name; rename it"
    return seen


def _draw_split(
    table: pd.DataFrame, classes: Mapping[str, int], data_set: dict[str, Any], seed: int
) -> list[str]:
    """Draw val in place where the files name no split; return warnings."""
    if not len(table) or (table["split"] != "").any():
        return []
    share, sound = data_set["val_share"], table["problem"] == ""
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


def _size_problems(listed: pd.DataFrame, seen: pd.DataFrame) -> list[str]:
    """Compare sizes; an annotation may have that of the stored photo, before EXIF turns it."""
    sizes = listed[["width", "height"]].join(seen[["width", "height", "repairs"]], rsuffix="_seen")
    return [
        f"{image_id}: its annotation says {width} x {height}, the photo is {w} x {h} pixels"
        for image_id, width, height, w, h, repairs in sizes.itertuples()
        if width
        and height
        and w
        and (width, height) != (w, h)
        and not (TURNED in repairs and (width, height) == (h, w))
    ]


def check_data_set(
    inspected: pd.DataFrame,
    findings: dict[str, Any],
    masks: Partitions[LabelMap],
    parameters: dict[str, Any],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, Figure]:
    """Check the masks, report on the data set, and stop if something is wrong with it.

    Args:
        inspected: From `inspect_photos`.
        findings: From `inspect_photos`.
        masks: Of each image.
        parameters: All of them: those of the data set, and how each stage is trained.
        execution: Processes.

    Returns:
        The report; the photos of each class; how many photos show each two classes; a figure.

    Raises:
        UserError: With one line per problem.
    """
    classes: dict[str, int] = findings["classes"]
    layout = LAYOUTS[parameters["data_set"]["layout"]]
    masked = [str(image_id) for image_id in inspected.index if image_id in masks]
    problems = [*findings["problems"], *_list_mask_gaps(inspected, masks, parameters)]
    if not findings["problems"]:  # the following ones are likely a consequence
        problems += _list_gaps(inspected[inspected["problem"] == ""], classes, parameters)
    more, warnings = _check_masks(inspected.loc[masked], findings, masks, layout, execution)
    if problems := [*problems, *more]:
        raise _refuse(problems, parameters[layout.folder], layout.folder)
    warnings = [*findings["warnings"], *warnings, *list_warnings(inspected, classes, masked)]
    for line in warnings:
        logger.warning(line)
    sound = inspected[inspected["problem"] == ""]
    counts, together = count_classes(sound, classes), count_together(sound, classes)
    report = summarise_photos(inspected, classes, masked) | {"warnings": warnings}
    return report, counts, together, plot_data(sound, counts, together)


def _check_masks(
    masked: pd.DataFrame,
    findings: dict[str, Any],
    masks: Partitions[LabelMap],
    layout: Layout,
    execution: Execution,
) -> tuple[list[str], list[str]]:
    """Check the masks by themselves and against the tags: problems and warnings."""
    classes, names = findings["classes"], findings["mask_classes"]
    shown, wrong = _inspect_masks(masked, masks, len(names), execution)
    tags = {str(i): tags.split(TAG_SEPARATOR) for i, tags in masked["tags"].items()}
    agreement = compare(tags, shown, classes, names, layout.mask_names)
    problems = [
        _name_together(ids, line)
        for line, ids in wrong.items()
        if not agreement.problems or UNKNOWN_VALUES not in line  # a consequence of it
    ]
    binary = getattr(masks, "binary", False)
    if binary and len(names) > 1:
        problems.append(
            f"the masks have the values 0 and 255 only, but there are {len(classes)} classes: "
            "write the classes' values into them, or learn one class with classes=<name>"
        )
    else:
        problems += agreement.problems
    known = [f"the masks have the values 0 and 255 only: 255 is {', '.join(classes)}"]
    return problems, [*agreement.warnings, *(known if binary else ())]


def _inspect_masks(
    masked: pd.DataFrame, masks: Partitions[LabelMap], num_values: int, execution: Execution
) -> tuple[dict[str, tuple[int, ...]], dict[str, list[str]]]:
    """Read each mask once: the values in it by image, and the images of each problem."""
    wrong: dict[str, list[str]] = {}
    looks = _look_at_masks(masked, masks, num_values, execution, "Checking the masks")
    for image_id, look in looks.items():
        for line in look.problems:
            wrong.setdefault(line, []).append(image_id)
    shown = {i: look.shown for i, look in looks.items() if look.shown is not None}
    return shown, wrong


def _look_at_masks(
    images: pd.DataFrame,
    masks: Partitions[LabelMap],
    num_values: int,
    execution: Execution,
    description: str,
) -> dict[str, MaskInspection]:
    """Read the masks of images once."""
    sizes = images[["width", "height"]].itertuples()
    looks: dict[str, MaskInspection] = {}
    for chunk in map_in_chunks(
        inspect_mask,
        ((str(i), masks[str(i)], int(w), int(h), num_values) for i, w, h in sizes),
        total=len(images),
        execution=execution,
        description=description,
    ):
        looks.update(chunk)
    return looks


def _refuse(problems: list[str], folder: str, parameter: str) -> UserError:
    return UserError(
        f"{len(problems)} problem{'s' * (len(problems) > 1)} with the data set in '{folder}' "
        f"(parameter {parameter}):" + _list(problems)
    )


def _list(problems: list[str]) -> str:
    more = len(problems) - MAX_LINES
    lines = "".join(f"\n  {line}" for line in problems[:MAX_LINES])
    return lines + (f"\n  … and {more} more" if more > 0 else "")


def _list_mask_gaps(
    inspected: pd.DataFrame, masks: Collection[str], parameters: dict[str, Any]
) -> Iterator[str]:
    """Name photos and masks that must be there and are missing, or cannot be read."""
    data_set = parameters["data_set"]
    if not data_set["strict"]:
        return
    wrong = inspected.loc[inspected["problem"] != "", "problem"]
    yield from (f"{image_id}: {problem}" for image_id, problem in wrong.items())
    if not masks:
        layout = data_set["layout"]
        folder = parameters["mask_folder"] if layout == "voc" else data_set["masks"]
        yield (
            f"the masks' folder {folder or '(none is named)'}: missing or empty; give "
            f"--params {LAYOUTS[layout].masks_given}, or data_set.strict=false to do without masks"
        )
        return
    val = inspected.index[(inspected["problem"] == "") & (inspected["split"] == "val")]
    yield from (f"{i}: the mask is missing, but val is scored" for i in val.difference([*masks]))


def _name_together(ids: list[str], line: str) -> str:
    """Name a problem once for all its photos."""
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return f"{', '.join(ids[:MAX_NAMED])}{more}: {line}"


def _list_gaps(
    sound: pd.DataFrame, classes: Mapping[str, int], parameters: dict[str, Any]
) -> Iterator[str]:
    """Name what keeps a data set of sound photos from being learned or evaluated."""
    val_share = parameters["data_set"].get("val_share", 0.0)
    train = sound[sound["split"] == "train"]
    tagged = train.index[train["tags"] != ""]
    if not len(tagged):
        names = ", ".join(classes)
        hint = f"among {names} (parameter data_set.classes)" if names else "(parameter tags)"
        yield f"no training photo has a tag {hint}"
    if not (sound["split"] == "val").any():
        yield (
            "no photo is of the split val, which the results are evaluated on: name some in a "
            f"column `split` (train or val), or, if none is given, raise data_set.val_share, now "
            f"{val_share} of {len(sound)} photos"
        )
    samples = {"cam": train.index, "affinity_training": tagged, "segmentation": tagged}
    for stage in TRAINED:
        training = _training_of(parameters[stage])
        count = len(samples[stage])
        if len(tagged) and training.epochs and training.batch_size > count:
            yield (
                f"{stage}.training.batch_size is {training.batch_size}, but the stage has only "
                f"{count} photos to train on; lower it"
            )


def _training_of(stage: Any) -> TrainingParameters:
    """Return how a stage is trained; Kedro builds its block only for nodes that declare it."""
    training = stage["training"] if isinstance(stage, dict) else stage.training
    return TypeAdapter(TrainingParameters).validate_python(training)


def build_index(
    inspected: pd.DataFrame, findings: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, int]]:
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
    index: pd.DataFrame, classes: dict[str, int], corrected: Corrected, execution: Execution
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
    problems = [*matched.problems, *list_problems(corrected, looks, classes)]
    if not problems and not looks:
        problems.append(f"none of the {len(corrected.masks)} masks is of a training photo")
    if problems:
        title = f"corrected={corrected.path}: the masks cannot be trained on:"
        raise UserError(title + _list(problems))
    for note in matched.notes:
        logger.warning(note.replace("masks=", "corrected=", 1))
    val = sorted(own.keys() - looks.keys())
    if val:
        logger.warning(
            "corrected=%s: %d photos are of val, such as %s. They are not trained on, so that val "
            "stays unseen",
            *(corrected.path, len(val), val[0]),
        )
    logger.info("%d photos of train have a corrected mask.", len(looks))
    return {"photos": len(looks), "val": val}
