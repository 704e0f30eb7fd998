"""Problems of a data set that stop a run, in one line each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from affinitynet.core.images import TURNED
from affinitynet.data.agreement import Agreement, binary_of_many
from affinitynet.data.checks import UNKNOWN_VALUES
from affinitynet.data.layouts import LAYOUTS
from affinitynet.data.parameters import DataSet
from affinitynet.deferred import pandas as pd
from affinitynet.errors import name_together

ON_TAGGED = ("affinity_training", "segmentation")
"""Stages that train on the photos with tags only."""


def list_size_problems(listed: pd.DataFrame, seen: pd.DataFrame) -> list[str]:
    """Compare sizes; an annotation may have that of the stored photo, before EXIF turns it.

    Args:
        listed: `width` and `height` by annotation, 0 where it has none; or neither column.
        seen: `width`, `height` and `repairs` of the photos.
    """
    if "width" not in listed:
        return []
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


def list_missing(
    inspected: pd.DataFrame, masks: Collection[str], data_set: DataSet, mask_folder: str
) -> Iterator[str]:
    """Name photos and masks that must be there and are missing, or cannot be read."""
    if not data_set.strict:
        return
    wrong = inspected.loc[inspected["problem"] != "", "problem"]
    yield from (f"{image_id}: {problem}" for image_id, problem in wrong.items())
    if not masks:
        folder = mask_folder if data_set.layout == "voc" else data_set.masks
        given = LAYOUTS[data_set.layout].masks_given
        yield (
            f"the masks' folder {folder or '(none is named)'}: missing or empty; give "
            f"--params {given}, or data_set.strict=false to do without masks"
        )
        return
    val = inspected.index[(inspected["problem"] == "") & (inspected["split"] == "val")]
    yield from (f"{i}: the mask is missing, but val is scored" for i in val.difference([*masks]))


def list_gaps(
    sound: pd.DataFrame,
    classes: Collection[str],
    val_share: float,
    batch_sizes: Mapping[str, int],
) -> Iterator[str]:
    """Name what keeps a data set of sound photos from being learned or evaluated.

    Args:
        sound: `split` and `tags` of the photos.
        val_share: Share of val, where it is drawn.
        batch_sizes: Of the stages that train.
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
    for stage, size in batch_sizes.items():
        count = len(tagged if stage in ON_TAGGED else train)
        if len(tagged) and size > count:
            yield (
                f"{stage}.training.batch_size is {size}, but the stage has only {count} photos to "
                "train on; lower it"
            )


def list_mask_problems(
    wrong: Mapping[str, list[str]], agreement: Agreement, num_values: int, *, binary: bool
) -> Iterator[str]:
    """Name what is wrong with the masks.

    Args:
        wrong: The photos of each problem of a single mask.
        num_values: Number of classes that mask values may stand for.
        binary: Whether all masks have the values 0 and 255 only.
    """
    if agreement.problems:  # unknown values are a consequence of it
        wrong = {line: ids for line, ids in wrong.items() if UNKNOWN_VALUES not in line}
    yield from name_together(wrong)
    if binary and num_values > 1:
        yield binary_of_many(num_values)
    else:
        yield from agreement.problems
