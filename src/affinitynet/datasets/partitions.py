"""Per-image outputs: one version folder per run, one file per image, complete only when closed."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from html import escape
from pathlib import PurePosixPath
from typing import Any

import fsspec
from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import get_protocol_and_path
from kedro_datasets._typing import HTMLPreview, ImagePreview

from affinitynet.datasets.contact_sheet import contact_sheet
from affinitynet.datasets.folder import FolderDataset, Saved

MARKER_SUFFIX = ".complete.json"
"""Suffix of the marker beside a partition folder; it holds the number of items."""


class VersionedPartitionsDataset(AbstractVersionedDataset[dict[str, Any], dict[str, Callable]]):
    """A `PartitionedDataset` with a version folder a run, which counts once it is confirmed.

    Layout: `<path>/<version>/<folder>/<id><filename_suffix>`, and beside it, once the node that
    made it has confirmed it (Kedro's `confirms`), the marker `<folder>.complete.json`.

    - A generator node streams: each yielded `{id: data}` is saved at once, atomically.
    - `load` and `exists` know complete versions only, so that nothing half-written is read.
    - `done` lists the items of this run's own version, with which a resumed run goes on.

    Args:
        path: Folder of all versions. May name any fsspec protocol.
        dataset: The dataset of one item, as `PartitionedDataset` takes it.
        filename_suffix: Suffix of the items' files.
        folder: Name of the item folder in a version; the last part of `path` unless given.
        version: Load and save version, set by Kedro (`versioned: true`).
        credentials: Passed to the file system and the items' dataset.

    Example:
        ```yaml
        cam.maps:
          type: affinitynet.datasets.VersionedPartitionsDataset
          path: data/04_feature/cam/maps
          filename_suffix: .safetensors
          versioned: true
          dataset: affinitynet.datasets.ClassMapsDataset
        ```
    """

    def __init__(
        self,
        *,
        path: str,
        dataset: str | type | dict[str, Any],
        filename_suffix: str = "",
        folder: str | None = None,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if version is None:
            raise DatasetError(f"The partitions of '{path}' need `versioned: true`.")
        self._protocol, root = get_protocol_and_path(path, version)
        options = {"auto_mkdir": True} if self._protocol == "file" else {}
        self._fs = fsspec.filesystem(self._protocol, **(credentials or {}), **options)
        self._dataset = dataset
        self._filename_suffix = filename_suffix
        self._folder = folder
        self._credentials = credentials
        self._begun = False
        self.metadata = metadata
        super().__init__(
            filepath=PurePosixPath(root),
            version=version,
            exists_function=self._complete,
            glob_function=self._fs.glob,
        )

    def save(self, data: dict[str, Any]) -> None:
        """Add items to this run's version.

        Args:
            data: As of `FolderDataset`; an item that is there already is replaced.

        Raises:
            DatasetError: If the version has been confirmed before.
        """
        path = self._get_save_path()
        self._begun = True
        self._partitions(path).save(data)

    def saver(self) -> Callable[[str, Any], Saved]:
        """Return a function that adds an item in any process; see `FolderDataset`."""
        return self._partitions(self._own_path()).saver()

    def load(self) -> dict[str, Callable[[], Any]]:
        """List a complete version: item id to a function that loads the item.

        Returns:
            The pinned version; else the one that was saved here, else the newest complete one.

        Raises:
            DatasetError: If the version is not complete, or files of it have gone since.
        """
        path = self._get_load_path()
        if not self._complete(str(path)):
            raise DatasetError(
                f"'{path}' was never completed, so it is not read. "
                "Continue the run that began it with: --params resume=true"
            )
        items = self._partitions(path).load()
        expected = json.loads(self._fs.cat_file(f"{path}{MARKER_SUFFIX}"))["items"]
        if len(items) != expected:
            raise DatasetError(
                f"'{path}' holds {len(items)} of the {expected} items that it was completed "
                "with. Files were removed or added since; run the stage that makes it again."
            )
        return items

    def preview(self) -> ImagePreview:
        """Picture a complete version for Kedro-Viz; see `contact_sheet`."""
        return contact_sheet(self.load())

    def done(self, since: datetime | None = None) -> dict[str, Callable[[], Any]]:
        """List the items that this run's own version holds so far, complete or not."""
        return self._partitions(self._own_path()).done()

    def reopen(self) -> None:
        """Take the confirmation of this run's version back, so that items can be added."""
        path = self._own_path()
        if self._complete(str(path)):
            self._fs.rm(f"{path}{MARKER_SUFFIX}")
            self._clear_version_cache()

    def confirm(self) -> None:
        """Close this run's version: from now on it is complete, and loaded."""
        path = self._own_path()
        if self._protocol == "file":
            os.sync()  # the items are on the disk before the marker that vouches for them
        marker = json.dumps({"items": len(self._partitions(path).load())})
        with self._fs.open(f"{path}{MARKER_SUFFIX}", "wb") as file:
            file.write(marker.encode())
        self._clear_version_cache()

    def resolve_load_version(self) -> str | None:
        """Take the pinned version, else the one that was saved here, else the newest."""
        own = self._version.save if self._version and not self._version.load else None
        if own and self._begun:
            return str(own)
        return super().resolve_load_version()

    def _get_versions(self) -> list[str]:
        """All complete versions, newest first. A version without items has only a marker."""
        root = str(self._filepath)
        folders = self._fs.ls(root, detail=False) if self._fs.exists(root) else []
        versions = sorted((PurePosixPath(folder).name for folder in folders), reverse=True)
        paths = (str(self._get_versioned_path(version)) for version in versions)
        return [path for path in paths if self._complete(path)]

    def _get_versioned_path(self, version: str) -> PurePosixPath:
        folder = self._folder or self._filepath.name
        return super()._get_versioned_path(version).parent / folder

    def _own_path(self) -> PurePosixPath:
        return self._get_versioned_path(str(self.resolve_save_version()))

    def _get_version_from_path(self, path: str) -> str:
        return PurePosixPath(path).relative_to(self._filepath).parts[0]

    def _fetch_latest_load_version(self) -> str:
        if self._cached_load_version is None:
            versions = self._get_versions()
            if not versions:
                return super()._fetch_latest_load_version()  # raises with Kedro's own words
            self._cached_load_version = self._get_version_from_path(versions[0])
        return self._cached_load_version

    def _complete(self, path: str) -> bool:
        return bool(self._fs.exists(f"{path}{MARKER_SUFFIX}"))

    def _partitions(self, path: PurePosixPath) -> FolderDataset:
        prefix = "" if self._protocol == "file" else f"{self._protocol}://"
        return FolderDataset(
            path=f"{prefix}{path}",
            dataset=self._dataset,
            filename_suffix=self._filename_suffix,
            credentials=self._credentials,
            read_only=False,
        )

    def _exists(self) -> bool:
        return self._complete(str(self._get_load_path()))

    def _describe(self) -> dict[str, Any]:
        return {
            "path": self._filepath,
            "dataset": self._dataset,
            "version": self._version,
            "protocol": self._protocol,
        }


class LastPartitionsDataset(VersionedPartitionsDataset):
    """A `VersionedPartitionsDataset` of which only the last `keep` items (by id) are kept."""

    def __init__(self, *, keep: int, **options: Any) -> None:
        super().__init__(**options)
        self._keep = keep

    def save(self, data: dict[str, Any]) -> None:
        """Add items to this run's version, and remove the first ones."""
        super().save(data)
        path = self._get_save_path()
        for item in sorted(self._partitions(path).load())[: -self._keep]:
            self._fs.rm(f"{path}/{item}{self._filename_suffix}")


class PageDataset(VersionedPartitionsDataset):
    """A folder of HTML pages, one version a run: `<path>/<version>/<name>.html`."""

    def __init__(self, **options: Any) -> None:
        pages = {"dataset": "text.TextDataset", "filename_suffix": ".html", "folder": "."}
        super().__init__(**pages | options)

    def preview(self) -> HTMLPreview:  # type: ignore[override]  # Kedro-Viz reads the annotation
        """Name the pages' files for Kedro-Viz, which shows no page within its own."""
        files = [f"{self._get_load_path()}/{name}.html" for name in self.load()]
        lines = "".join(f"<p><code>{escape(file)}</code></p>" for file in files)
        return HTMLPreview(f"<p>Open in a browser:</p>{lines}")
