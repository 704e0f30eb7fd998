"""Result of every reader of tags: one table, whatever the files look like."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from affinitynet.core.label_maps import IGNORE_INDEX, Classes
from affinitynet.data.names import clean_tags, is_background

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val")
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
        mask_classes: Names of the mask values 1, 2, …, learned or not.
        problems: One line each; they stop the run.
        warnings: Possible faults, one line each; the run goes on.
    """

    photos: "pd.DataFrame"
    classes: Classes
    mask_classes: list[str]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Findings(TypedDict):
    """`Tagged` without the table of photos, as JSON."""

    classes: Classes
    mask_classes: list[str]
    problems: list[str]
    warnings: list[str]


def choose_classes(
    names: list[str],
    listed: list[str] | None,
    mask_names: list[str] | None,
    default: list[str] | None = None,
) -> tuple[dict[str, int], list[str], list[str], list[str]]:
    """Decide which classes are learned, and which mask value each has.

    Args:
        names: The classes that the tags name.
        listed: The classes to learn, in the order of their labels; None for all of `names`.
        mask_names: Names of the mask values 1, 2, …, as the user gives them, empty for those that
            mean nothing; a name of the background before them, which is value 0, is left out.
        default: The same, as a file says; None for the classes themselves.

    Returns:
        Class name to mask value, the names of the mask values, problems, and warnings.
    """
    chosen = clean_tags(listed if listed else names)
    problems, warnings = [], []
    if mask_names:
        mask_names = mask_names[is_background(mask_names[0]) :]
        problems = [
            f"parameter data_set.classes: '{name}' is none of data_set.mask_classes"
            for name in chosen
            if name not in mask_names
        ]
        uses = Counter(name for name in mask_names if name)
        problems += [
            f"parameter data_set.mask_classes names '{name}' {count} times"
            for name, count in uses.items()
            if count > 1
        ]
    elif default:
        folded = {name.casefold(): name for name in chosen if name not in default}
        default = [folded.get(name.casefold(), name) for name in default]
        absent = [name for name in chosen if name not in default]
        if absent and len(absent) == len(chosen):
            problems.append(
                f"no class of the tags is in the masks' file: the tags name {', '.join(chosen)}; "
                f"the masks' file {', '.join(default)}"
            )
        elif absent:
            warnings.append(f"classes that the masks' file does not have: {', '.join(absent)}")
        mask_names = [*default, *absent]
    else:
        mask_names = chosen
    values = {name: value for value, name in enumerate(mask_names, start=1)}
    for name in chosen:
        if TAG_SEPARATOR in name or len(name.splitlines()) != 1:
            problems.append(
                f"the class '{name}': a name must not contain '{TAG_SEPARATOR}' or a line break"
            )
        if len(name) > MAX_NAME:
            problems.append(f"the class '{name[:40]}…': a name has {MAX_NAME} characters at most")
    for name in [name for name in chosen if name.encode(errors="ignore").decode() != name]:
        problems.append(f"the class {name!r}: half a character; save the tags as UTF-8")
        chosen.remove(name)  # no table can hold it
    if len(values) >= IGNORE_INDEX:
        problems.append(f"{len(values)} classes are too many: masks have {IGNORE_INDEX - 1} values")
    return {name: values.get(name, 0) for name in chosen}, mask_names, problems, warnings
