"""What every reader of tags gives: one table, whatever the files looked like."""

from dataclasses import dataclass, field

import pandas as pd

from affinitynet.core.label_maps import IGNORE_INDEX

SPLITS = ("train", "val")
BACKGROUND = "background"
"""As a tag it says that a photo shows none of the classes."""
MAX_NAME = 200
"""Characters of a class's name: MLflow takes 250 for a metric, which has the stage's name too."""
TAG_SEPARATOR = "|"
"""Between the tags in the index."""


@dataclass(frozen=True)
class Tagged:
    """Photos and their tags, as the data set's files name them.

    Attributes:
        photos: One row a photo that there is, by `id`: `tags`, a list of names; `split`, train or
            val, empty where it is still to be drawn; and, if the files say so, `width` and
            `height` in pixels, 0 where that cannot be read.
        classes: Class name to mask value, in the order of the labels 1, 2, ….
        num_values: Number of mask values that stand for something, learned or not.
        problems: What is wrong, one line each: the run stops.
        warnings: What may be wrong, one line each: the run goes on.
    """

    photos: pd.DataFrame
    classes: dict[str, int]
    num_values: int
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose_classes(
    names: list[str], listed: list[str] | None, mask_names: list[str] | None
) -> tuple[dict[str, int], int, list[str]]:
    """Decide which classes are learned, and which mask value each has.

    Args:
        names: The classes that the tags name.
        listed: The classes to learn, in the order of their labels; None for all of `names`.
        mask_names: Names of the mask values 1, 2, …; None for the classes themselves.

    Returns:
        Class name to mask value, the number of mask values, and what is wrong with them.
    """
    chosen = list(listed if listed else names)
    values = {name: value for value, name in enumerate(mask_names or chosen, start=1)}
    problems = [
        f"parameter data_set.classes: '{name}' is none of data_set.mask_classes"
        for name in chosen
        if name not in values
    ]
    for name in chosen:
        if TAG_SEPARATOR in name or len(name.splitlines()) != 1:
            problems.append(
                f"the class '{name}': a name must not contain '{TAG_SEPARATOR}' or a line break"
            )
        if len(name) > MAX_NAME:
            problems.append(f"the class '{name[:40]}…': a name has {MAX_NAME} characters at most")
        if name.encode(errors="ignore").decode() != name:
            problems.append(f"the class {name!r}: half a character; save the tags as UTF-8")
    if len(values) >= IGNORE_INDEX:
        problems.append(f"{len(values)} classes are too many: masks have {IGNORE_INDEX - 1} values")
    return {name: values.get(name, 0) for name in chosen}, len(values), problems
