"""Nodes of the `import_maps` pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes
from affinitynet.data.files import Partitions
from affinitynet.data.given_maps import (
    ClassNames,
    MapsInspection,
    assign_files,
    compare_all,
    inspect_maps,
    read_maps,
    select_tagged,
)
from affinitynet.data.score_files import Key, ScoreMaps, as_key, read_score_maps
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError, list_problems
from affinitynet.execution import Execution, map_in_chunks, map_shown
from affinitynet.pipelines.cam.nodes import tag_labels
from affinitynet.pipelines.per_image import tagged_photos

logger = logging.getLogger(__name__)


def check_maps(
    index: pd.DataFrame,
    given: Partitions[bytes],
    classes: Classes,
    maps: str | None,
    execution: Execution,
) -> pd.DataFrame:
    """Read all maps once, and stop if something is wrong with them.

    Args:
        given: The folder's files by their names.
        maps: The folder, for messages.

    Returns:
        One row per file, by the `id` of its photo: `file`, `key`, the class in its name, empty
        for all of them, and `shift`, the label of the class with the number 0.

    Raises:
        UserError: With one line per problem.
    """
    index, names = tagged_photos(index), ClassNames(classes)
    files = assign_files([*given], index.index, names)
    if [*given] == [""]:
        raise UserError(f"maps={maps}: is a file; name the folder that it is in")
    if not files:
        raise UserError(
            f"maps={maps}: has no class maps of the {len(index)} training photos: {len(given)} "
            f"files{_examples(given)}, photos such as {min(index.index, default='none')}. "
            "docs/own_maps.md explains the files' names"
        )
    looks = _look_at(files, index, given, len(classes), execution)
    tags = {photo: {*labels.tolist()} for photo, labels in tag_labels(index, [*classes]).items()}
    shift, wrong = compare_all(looks, tags, names)
    if wrong:
        raise UserError(
            f"maps={maps}: the class maps do not fit the photos and their tags:"
            + list_problems(wrong)
        )
    _warn_of_others(files, given, maps)
    return _tabulate(files, shift)


def _tabulate(files: Mapping[str, Any], shift: int) -> pd.DataFrame:
    rows = [
        (photo, file, "" if key is None else str(key), shift)
        for photo, own in files.items()
        for file, key in own
    ]
    return pd.DataFrame(rows, columns=["id", "file", "key", "shift"]).set_index("id")


def _look_at(
    files: Mapping[str, Any],
    index: pd.DataFrame,
    given: Partitions[bytes],
    num_classes: int,
    execution: Execution,
) -> dict[str, MapsInspection]:
    """Read all maps of each photo once."""
    sizes = dict(zip(index.index, index[["width", "height"]].to_numpy().tolist(), strict=True))
    looks = map_shown(
        partial(inspect_maps, num_classes=num_classes),
        (
            (photo, _readers(own, given), [key for _, key in own], *sizes[photo])
            for photo, own in files.items()
        ),
        total=len(files),
        execution=execution,
        description="Checking the class maps",
    )
    return dict(looks)


def _warn_of_others(files: Mapping[str, Any], given: Partitions[bytes], maps: str | None) -> None:
    used = {file for own in files.values() for file, _ in own}
    if left := [file for file in given if file not in used]:
        logger.warning(
            "maps=%s: %d files are of no training photo%s", maps, len(left), _examples(left)
        )


def import_maps(
    index: pd.DataFrame,
    files: pd.DataFrame,
    given: Partitions[bytes],
    classes: Classes,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Take over the maps of each photo's tags, normalised as the CAMs are (eq. 1)."""
    tags = tag_labels(tagged_photos(index), [*classes])
    own = {str(photo): each for photo, each in files.groupby(level="id") if str(photo) in tags}
    shift = int(files["shift"].iloc[0])
    yield from map_in_chunks(
        partial(_import_one, classes=ClassNames(classes), shift=shift),
        (
            (
                photo,
                _readers([(file, None) for file in rows["file"]], given),
                [as_key(key) if key else None for key in rows["key"]],
                tags[photo].tolist(),
            )
            for photo, rows in own.items()
        ),
        total=len(own),
        execution=execution,
        description="Importing class maps",
        outputs=True,
    )


def keep_untrained(initial: Checkpoint) -> tuple[Checkpoint, pd.DataFrame]:
    """Hand on the weights that the classifier would start from, as there is none to train.

    Returns:
        The checkpoint, whose backbone the later stages start from, and an empty training curve.
    """
    return initial, pd.DataFrame(columns=["epoch", "step", "loss", "learning_rate"])


def _readers(
    files: list[tuple[str, Any]], given: Partitions[bytes]
) -> list[Callable[[], ScoreMaps]]:
    return [partial(_read, given[file], file) for file, _ in files]


def _read(read: Callable[[], bytes], file: str) -> ScoreMaps:
    return read_score_maps(read(), file)


def _import_one(
    readers: list[Callable[[], ScoreMaps]],
    keys: list[Key | None],
    tags: list[int],
    *,
    classes: ClassNames,
    shift: int,
) -> ClassMaps:
    return select_tagged(read_maps(readers, keys), tags, classes, shift)


def _examples(files: Any) -> str:
    return f", such as {min(files)}" if files else ""
