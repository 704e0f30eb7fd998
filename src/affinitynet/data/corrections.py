"""Masks that were corrected by hand: which photos they are of, and what their values mean."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap
from affinitynet.data.agreement import binary_of_many, compare
from affinitynet.data.checks import MaskInspection
from affinitynet.data.files import Partitions
from affinitynet.data.mask_files import MaskFiles, match_mask_files

if TYPE_CHECKING:
    import pandas as pd

MAX_VALUE = 254
"""Values above it are void."""


@dataclass(frozen=True)
class Corrected:
    """Corrected masks as their files have them.

    Attributes:
        masks: By the names that the files have for the photos.
        classes: Names of the values 1, 2, …; empty where they are those of the data set's masks.
        problem: Why they cannot be read; empty where they can.
        path: Where they lie.
    """

    masks: Partitions[LabelMap] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    problem: str = ""
    path: str = ""

    def match(self, index: "pd.DataFrame") -> MaskFiles:
        """Find the photos of the index that the masks are of, val among them."""
        return match_mask_files([*self.masks], [*index.index], self.path)


def corrected_photos(corrected: Corrected, index: "pd.DataFrame") -> dict[str, str]:
    """Name the mask of each corrected training photo. Those of val are never trained on."""
    if not corrected.masks:
        return {}
    train = {*index.index[index["split"] == "train"]}
    return {i: name for i, name in corrected.match(index).files.items() if i in train}


def corrected_labels(
    corrected: Corrected, index: "pd.DataFrame", classes: Classes
) -> dict[str, Callable[[], LabelMap]]:
    """Read the masks of the corrected training photos in the data set's mask values.

    Pixels of other classes become void.
    """
    table = np.arange(256, dtype=np.uint8)
    if corrected.classes:
        values = [classes.get(name, IGNORE_INDEX) for name in corrected.classes]
        table[1:] = IGNORE_INDEX
        table[1 : len(values) + 1] = values
    return {
        photo: partial(_translate, corrected.masks[name], table)
        for photo, name in corrected_photos(corrected, index).items()
    }


def _translate(read: Callable[[], LabelMap], table: LabelMap) -> LabelMap:
    return table[read()]


def without_corrected(
    masks: Partitions[LabelMap], corrected: Corrected, index: "pd.DataFrame"
) -> Partitions[LabelMap]:
    """Leave out the masks of photos that are trained on with a true mask: they score nothing."""
    trained = corrected_photos(corrected, index)
    return {photo: read for photo, read in masks.items() if photo not in trained}


def list_problems(
    corrected: Corrected,
    looks: Mapping[str, MaskInspection],
    tags: Mapping[str, Sequence[str]],
    classes: Classes,
) -> Iterator[str]:
    """List the problems of corrected masks.

    Args:
        looks: Inspection of the mask of each corrected training photo.
        tags: Of these photos. A mask may well show other classes than they say, but where all do
            the masks are numbered otherwise.
    """
    if corrected.problem:
        yield corrected.problem
    elif corrected.classes and not {*corrected.classes} & {*classes}:
        yield (
            f"the masks are of {', '.join(corrected.classes)}, "
            f"the photos of {', '.join(classes)}: name the classes alike"
        )
    for photo, look in looks.items():
        yield from (f"{photo}: {problem}" for problem in look.problems)
        known = range(1, len(corrected.classes) + 1) if corrected.classes else classes.values()
        if look.shown and not {*look.shown} & {*known}:
            yield f"{photo}: the mask has no value of a class, but {[*look.shown]}"
    if corrected.classes:
        return
    if getattr(corrected.masks, "binary", False) and len(classes) > 1:
        yield binary_of_many(len(classes))
        return
    names = {value: name for name, value in classes.items()}
    numbered = [names.get(value, f"value {value}") for value in range(1, max(names) + 1)]
    shown = {photo: look.shown for photo, look in looks.items() if look.shown}
    yield from compare(tags, shown, classes, numbered, "mask_classes").problems
