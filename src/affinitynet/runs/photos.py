"""The photos as they were at ingestion: the index describes no others."""

import json
from collections.abc import Collection, Iterator, Mapping

from fsspec.core import url_to_fs
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from affinitynet.datasets.folder import FileState, FolderDataset
from affinitynet.errors import UserError, join_lines

INDEX, PHOTOS = "index", "photos"
"""Catalog entries."""

MAX_CHANGES = 20
"""Photos that are named at most."""


def check_photos(
    pipeline: Pipeline, catalog: CatalogProtocol, records: str, *, version: str, again: str
) -> None:
    """Check that the photos of the index are what they were at ingestion.

    Args:
        pipeline: What is run; the photos are looked at if it reads them from a folder.
        records: Folder of the run records.
        version: Of the run that made the index.
        again: The command that reads the data set again.

    Raises:
        UserError: Naming those that were removed or changed since.
    """
    photos = _folder(pipeline, catalog)
    before = read_states(records, version) if photos else None
    if not photos or not before:
        return
    ids = catalog.load(INDEX).index if INDEX in pipeline.inputs() else before.keys()
    changes = [*list_changes(ids, before, photos.states())]
    if changes:
        raise UserError(
            f"Photos were removed or changed since ingestion (run {version}):"
            + join_lines(changes, MAX_CHANGES)
            + f"\nPut them back, or run ingestion again: {again}"
        )


def list_changes(
    ids: Collection[str], before: Mapping[str, FileState], now: Mapping[str, FileState]
) -> Iterator[str]:
    """Say what happened to photos, one line each.

    Args:
        ids: The photos that matter.
        before: Their files at ingestion.
        now: Their files now.
    """
    for image_id in ids:
        was, found = before.get(image_id), now.get(image_id)
        if found is None:
            yield f"{image_id}: removed"
        elif was and was.size != found.size:
            yield f"{image_id}: changed, {was.size} bytes then, {found.size} now"
        elif was and was != found:
            yield f"{image_id}: changed"


def note_photos(
    pipeline: Pipeline, catalog: CatalogProtocol, records: str, *, version: str
) -> None:
    """Note how the photos are, if the pipeline makes the index from a folder of them."""
    photos = _folder(pipeline, catalog)
    if photos and INDEX in pipeline.all_outputs():
        files, root = url_to_fs(f"{records}/photos")
        files.makedirs(root, exist_ok=True)
        with files.open(f"{root}/{version}.json", "w") as file:
            json.dump(photos.states(), file)


def forget_photos(records: str, *, version: str) -> None:
    """Remove what `note_photos` wrote, if it did."""
    files, root = url_to_fs(f"{records}/photos")
    if files.exists(path := f"{root}/{version}.json"):
        files.rm(path)


def _folder(pipeline: Pipeline, catalog: CatalogProtocol) -> FolderDataset | None:
    photos = catalog.get(PHOTOS) if PHOTOS in pipeline.inputs() else None
    return photos if isinstance(photos, FolderDataset) else None


def read_states(records: str, version: str) -> dict[str, FileState] | None:
    """Read how the photos were when a run read them; None if nothing was noted."""
    files, root = url_to_fs(f"{records}/photos")
    try:
        noted = json.loads(files.cat_file(f"{root}/{version}.json"))
    except (FileNotFoundError, ValueError):
        return None
    return {image_id: FileState(*state) for image_id, state in noted.items()}
