"""Nodes of the `ingestion` pipeline."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from affinitynet.core.images import TURNED
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
from affinitynet.data.files import Readers, is_too_long
from affinitynet.data.near_duplicates import group_near_duplicates
from affinitynet.data.report import (
    count_classes,
    count_together,
    list_doubts,
    one_hot,
    plot_data,
    summarise_photos,
)
from affinitynet.data.split import divide_groups, draw_val
from affinitynet.data.tag_file import MasksHeader, TagSource, read_tagged
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
    """How a data set's files say what the photos show, and how messages name them.

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
    photos: Readers,
    annotations: Readers | None,
    splits: Readers | None,
    tags: TagSource,
    masks_header: MasksHeader | None,
    data_set: dict[str, Any],
    seed: int,
    execution: Execution,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the tags, look at every tagged photo once, and draw the split where none is given.

    Args:
        photos: Image id to a function that reads the photo.
        annotations: Image id to a function that reads VOC's annotation.
        splits: List name to a function that reads VOC's list.
        tags: The tag file, or the files of a folder of annotations.
        masks_header: Of the file that masks are drawn from.
        data_set: See `conf/base/parameters.yml`. Its `layout` says which of these files count.
        seed: Of the drawn split.
        execution: Processes.

    Returns:
        One row a photo, by `id`: `split`, `width` and `height` in pixels, `tags` joined by `|`,
        its `group` of near-duplicates, `problem`, empty where the photo is sound, and `repairs`,
        what was done to read it. And what the files say of the data set: `classes`,
        `mask_classes`, `problems`, `warnings`.

    Raises:
        UserError: If the tags cannot be read at all.
    """
    try:
        read = LAYOUTS[data_set["layout"]].read
        tagged = read(photos, data_set, annotations, splits, tags, masks_header)
    except ValueError as error:
        raise UserError(str(error)) from error
    table = tagged.photos
    shown = [[name for name in tagged.classes if name in tags] for tags in table["tags"]]
    # to choose classes is to choose photos; val keeps all of its own
    kept = [bool(some) or not every for some, every in zip(shown, table["tags"], strict=True)]
    table = table.assign(tags=[TAG_SEPARATOR.join(tags) for tags in shown])
    table = table[np.array(kept, bool) | (table["split"] == "val").to_numpy()]

    looks: dict[str, Inspection] = dict.fromkeys(table.index, CRASHES)
    for chunk in map_in_chunks(
        inspect_photo,
        ((image_id, photos[image_id]) for image_id in table.index),
        total=len(table),
        execution=execution,
        description="Looking at the photos",
        skip=True,
    ):
        looks.update(chunk)
    seen = pd.DataFrame.from_dict(looks, orient="index", columns=[*Inspection._fields])
    long = [is_too_long(image_id) for image_id in seen.index]
    seen.loc[long, ["hash", "problem"]] = "", "has too long a name; rename it"
    problems, warnings = [*tagged.problems], [*tagged.warnings]
    if "width" in table:
        problems += _size_problems(table, seen)
    table = table[["split", "tags"]].join(seen)
    table["group"] = group_near_duplicates(table.pop("hash").tolist())
    drawn = bool(len(table)) and (table["split"] == "").all()
    if drawn:
        sound = table["problem"] == ""
        flags = one_hot(table[sound], tagged.classes).to_numpy(bool)
        share = data_set["val_share"]
        groups, divided = divide_groups(flags, table.loc[sound, "group"].to_numpy(), share)
        warnings += [
            f"{len(rows)} near-duplicates ({table.index[sound][rows[0]]}, …) are all the photos of "
            "a class, or nearly all there are: they are divided between train and val, so that "
            "the scores of val flatter; give a column `split` if you have other photos for val"
            for rows in divided
        ]
        val = draw_val(flags, groups, share, seed)
        table.loc[sound, "split"] = np.where(val, "val", "train")
    return table, {
        "classes": tagged.classes,
        "mask_classes": tagged.mask_classes,
        "problems": problems,
        "warnings": warnings,
    }


def _size_problems(said: pd.DataFrame, seen: pd.DataFrame) -> list[str]:
    """Compare sizes; an annotation may have that of the stored photo, before EXIF turns it."""
    sizes = said[["width", "height"]].join(seen[["width", "height", "repairs"]], rsuffix="_seen")
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
    masks: Readers,
    data_set: dict[str, Any],
    voc_root: str,
    mask_folder: str,
    images: str,
    execution: Execution,
    cam: TrainingParameters,
    affinity_training: TrainingParameters,
    segmentation: TrainingParameters,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, Figure]:
    """Check the masks, report on the data set, and stop if something is wrong with it.

    Args:
        inspected: What `inspect_photos` found.
        findings: Likewise.
        masks: Image id to a function that reads the mask.
        data_set: See `conf/base/parameters.yml`.
        voc_root: Folder of a data set in VOC's layout, for messages.
        mask_folder: Of the masks in it, for messages.
        images: Folder of tagged photos, for messages.
        execution: Processes.
        cam: How the classifier is trained.
        affinity_training: How AffinityNet is trained.
        segmentation: How the segmentation network is trained.

    Returns:
        The report; the photos of each class; how many photos show each two classes; a figure.

    Raises:
        UserError: With one line a problem.
    """
    classes: dict[str, int] = findings["classes"]
    sound = inspected[inspected["problem"] == ""]
    problems = [*findings["problems"]]
    layout = LAYOUTS[data_set["layout"]]
    problems += _list_mask_gaps(inspected, masks, data_set, mask_folder)
    if not findings["problems"]:  # of which what follows is likely a consequence
        stages = dict(zip(TRAINED, (cam, affinity_training, segmentation), strict=True))
        problems += _list_gaps(sound, classes, stages, data_set.get("val_share", 0.0))
    masked = [str(image_id) for image_id in inspected.index if image_id in masks]
    sizes = inspected.loc[masked, ["width", "height"]]
    shown: dict[str, tuple[int, ...]] = {}
    wrong: dict[str, list[str]] = {}
    for chunk in map_in_chunks(
        inspect_mask,
        (
            (i, masks[i], int(width), int(height), len(findings["mask_classes"]))
            for i, (width, height) in zip(masked, sizes.to_numpy(), strict=True)
        ),
        total=len(masked),
        execution=execution,
        description="Checking the masks",
    ):
        for i, look in chunk.items():
            for line in look.problems:
                wrong.setdefault(line, []).append(i)
        shown |= {i: look.shown for i, look in chunk.items() if look.shown is not None}
    problems += [_tell_together(ids, line) for line, ids in wrong.items()]
    agreement = compare(
        {str(i): tags.split(TAG_SEPARATOR) for i, tags in inspected.loc[masked, "tags"].items()},
        shown,
        classes,
        findings["mask_classes"],
        layout.mask_names,
    )
    if agreement.problems:  # values of no class are a consequence of it
        problems = [line for line in problems if UNKNOWN_VALUES not in line]
    binary = getattr(masks, "binary", False)
    several = len(findings["mask_classes"]) > 1
    if binary and several:
        problems.append(
            f"the masks have the values 0 and 255 only, but there are {len(classes)} classes: "
            "write the classes' values into them, or learn one class with classes=<name>"
        )
    else:
        problems += agreement.problems
    if problems:
        lines = "".join(f"\n  {line}" for line in problems[:MAX_LINES])
        more = len(problems) - MAX_LINES
        folder = {"voc_root": voc_root, "images": images}[layout.folder]
        raise UserError(
            f"{len(problems)} problem{'s' * (len(problems) > 1)} with the data set in '{folder}' "
            f"(parameter {layout.folder}):" + lines + (f"\n  … and {more} more" if more > 0 else "")
        )
    doubts = [*findings["warnings"], *agreement.warnings]
    if binary:
        doubts.append(f"the masks have the values 0 and 255 only: 255 is {', '.join(classes)}")
    doubts += list_doubts(inspected, classes, masked)
    for line in doubts:
        logger.warning(line)
    together = count_together(sound, classes)
    counts = count_classes(sound, classes)
    report = summarise_photos(inspected, classes, masked) | {"warnings": doubts}
    return report, counts, together, plot_data(sound, counts, together)


def _list_mask_gaps(
    inspected: pd.DataFrame,
    masks: Readers,
    data_set: dict[str, Any],
    mask_folder: str,
) -> Iterator[str]:
    """Say which photos and masks are missing that must be there, masks' contents apart."""
    if data_set["strict"]:
        wrong = inspected.loc[inspected["problem"] != "", "problem"]
        yield from (f"{image_id}: {problem}" for image_id, problem in wrong.items())
        if not masks:
            layout = data_set["layout"]
            folder = mask_folder if layout == "voc" else data_set["masks"]
            given = LAYOUTS[layout].masks_given
            yield (
                f"the masks' folder {folder or '(none is named)'}: missing or empty; give "
                f"--params {given}, or data_set.strict=false to do without masks"
            )
        else:
            val = inspected.index[(inspected["problem"] == "") & (inspected["split"] == "val")]
            yield from (
                f"{i}: the mask is missing, but val is scored" for i in val.difference([*masks])
            )


def _tell_together(ids: list[str], line: str) -> str:
    """Say once what is wrong with many photos."""
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return f"{', '.join(ids[:MAX_NAMED])}{more}: {line}"


def _list_gaps(
    sound: pd.DataFrame,
    classes: dict[str, int],
    trained: dict[str, TrainingParameters],
    val_share: float,
) -> Iterator[str]:
    """Say what keeps a data set without problems from being learned or evaluated.

    Args:
        sound: The photos that can be read.
        classes: Class name to mask value.
        trained: Stage to how it is trained.
        val_share: Share of the photos that is drawn for val where no split is given.
    """
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
    for stage, training in trained.items():
        count = len(samples[stage])
        if len(tagged) and training.epochs and training.batch_size > count:
            yield (
                f"{stage}.training.batch_size is {training.batch_size}, but the stage has only "
                f"{count} photos to train on; lower it"
            )


def build_index(
    inspected: pd.DataFrame, findings: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Gather split, size and tags of every sound photo in one table. Masks are not looked at.

    Args:
        inspected: What `inspect_photos` found.
        findings: Likewise.

    Returns:
        The index: one row a photo, by `id`: `split` (train or val), `width`, `height` in pixels,
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
        UserError: With one line a problem.
    """
    matched = corrected.match(index)
    own = {i: corrected.masks[name] for i, name in matched.files.items()}
    train = index[(index["split"] == "train") & index.index.isin([*own])]
    looks: dict[str, MaskInspection] = {}
    for chunk in map_in_chunks(
        inspect_mask,
        (
            (i, own[str(i)], int(width), int(height), MAX_VALUE)
            for i, (width, height) in zip(
                train.index, train[["width", "height"]].to_numpy(), strict=True
            )
        ),
        total=len(train),
        execution=execution,
        description="Checking the corrected masks",
    ):
        looks.update(chunk)
    problems = [*matched.problems, *list_problems(corrected, looks, classes)]
    if not problems and not looks:
        problems.append(f"none of the {len(corrected.masks)} masks is of a training photo")
    if problems:
        more = len(problems) - MAX_LINES
        raise UserError(
            f"corrected={corrected.path}: the masks cannot be trained on:"
            + "".join(f"\n  {line}" for line in problems[:MAX_LINES])
            + (f"\n  … and {more} more" if more > 0 else "")
        )
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
