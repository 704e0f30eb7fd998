"""Nodes of the `import_maps` pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes
from affinitynet.data.files import Partitions
from affinitynet.data.given_maps import (
    ClassNames,
    assign_files,
    compare_all,
    inspect_maps,
    read_maps,
    select_tagged,
)
from affinitynet.data.score_files import Key, ScoreMaps, as_key, read_score_maps
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError, list_problems
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.cam.nodes import tag_labels
from affinitynet.pipelines.per_image import map_items, sizes_of, tagged_photos

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
    sizes = sizes_of(index)
    items = [
        (
            photo,
            _readers([file for file, _ in own], given),
            [key for _, key in own],
            *sizes[photo][::-1],  # width and height
        )
        for photo, own in files.items()
    ]
    look = partial(inspect_maps, num_classes=len(classes))
    looks = dict(map_items(look, items, execution, "Checking the class maps"))
    tags = {photo: {*labels.tolist()} for photo, labels in tag_labels(index, [*classes]).items()}
    shift, wrong = compare_all(looks, tags, names)
    if wrong:
        raise UserError(
            f"maps={maps}: the class maps do not fit the photos and their tags:"
            + list_problems(wrong)
        )
    used = {file for own in files.values() for file, _ in own}
    if left := [file for file in given if file not in used]:
        logger.warning(
            "maps=%s: %d files are of no training photo%s", maps, len(left), _examples(left)
        )
    rows = [
        (photo, file, "" if key is None else str(key), shift)
        for photo, own in files.items()
        for file, key in own
    ]
    return pd.DataFrame(rows, columns=["id", "file", "key", "shift"]).set_index("id")


def import_maps(
    index: pd.DataFrame,
    files: pd.DataFrame,
    given: Partitions[bytes],
    classes: Classes,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Take over the maps of each photo's tags, normalised as the CAMs are (eq. 1)."""
    tags = tag_labels(tagged_photos(index), [*classes])
    items = [
        (
            str(photo),
            _readers(rows["file"], given),
            [as_key(key) if key else None for key in rows["key"]],
            tags[str(photo)].tolist(),
        )
        for photo, rows in files.groupby(level="id")
        if str(photo) in tags
    ]
    do = partial(_import_one, classes=ClassNames(classes), shift=int(files["shift"].iloc[0]))
    yield from chunks(map_items(do, items, execution, "Importing class maps", outputs=True))


def keep_untrained(initial: Checkpoint) -> tuple[Checkpoint, pd.DataFrame]:
    """Hand on the weights that the classifier would start from, as there is none to train.

    Returns:
        The checkpoint, whose backbone the later stages start from, and an empty training curve.
    """
    return initial, pd.DataFrame(columns=["epoch", "step", "loss", "learning_rate"])


def _readers(files: Iterable[str], given: Partitions[bytes]) -> list[Callable[[], ScoreMaps]]:
    return [partial(_read, given[file], file) for file in files]


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
