"""A folder of the user's: photos, masks or tags that are not the project's own."""

import hashlib
import logging
import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview
from kedro_datasets.partitions import PartitionedDataset

from affinitynet.datasets.atomic import PART_SUFFIX, register_atomic_file_systems, sweep
from affinitynet.datasets.contact_sheet import contact_sheet

logger = logging.getLogger(__name__)

END = 4096
"""Bytes at each end of a file that are compared with another file of its size."""


class FileState(NamedTuple):
    """State of a file by which changes are detected; not its time, which copies change.

    Attributes:
        size: In bytes.
        digest: Of both ends of its content; in an object store, the store's own of all of it.
    """

    size: int
    digest: str


class Saved:
    """In place of data that are saved already."""


class FolderDataset(PartitionedDataset):
    """The files of a folder as lazily loaded partitions, read only by default.

    A `PartitionedDataset` but for three things: a folder that is missing or empty loads as no
    partitions, so that the checks of the input can report it together with all else that is
    wrong; saving must be allowed with `read_only: false`; and data are saved as they are, never
    called first (a network is callable, and is no lazily made item).

    Example:
        ```yaml
        photos:
          type: affinitynet.datasets.FolderDataset
          path: data/01_raw/VOC2012/JPEGImages
          filename_suffix: .jpg
          dataset: pillow.ImageDataset
        ```
    """

    _cached_partitions: list[str] | None

    def __init__(self, *, read_only: bool = True, **kwargs: Any) -> None:
        super().__init__(**{"save_lazily": False} | kwargs)
        self._read_only = read_only

    @property
    def path(self) -> str:
        """The folder, as it was given."""
        return str(self._path)

    def load(self) -> dict[str, Callable[[], Any]]:
        """List the folder: partition id (file name without suffix) to a function that loads it."""
        self._invalidate_caches()
        return super().load() if self._list_partitions() else {}

    def save(self, data: dict[str, Any]) -> None:
        """Write partitions into the folder; files of the same name are replaced.

        Args:
            data: Partition id to data, or to `Saved` where a `saver` has written it.

        Raises:
            DatasetError: If the folder is read only, or a file to be replaced is a symlink.
        """
        if self._read_only:
            raise DatasetError(f"'{self._path}' holds the user's own files: it is only read.")
        unsaved = {name: each for name, each in data.items() if not isinstance(each, Saved)}
        if self._protocol == "file":
            folder = Path(self._filesystem._strip_protocol(self._normalized_path))
            for name in unsaved:
                check_no_symlink(Path(self._partition_to_path(name)), folder)
        super().save(unsaved)

    def saver(self) -> Callable[[str, Any], Saved]:
        """Return a function that writes a partition in any process; `save` takes its result."""
        return partial(_save_one, self)

    def preview(self) -> ImagePreview:
        """Picture the folder for Kedro-Viz; see `contact_sheet`."""
        return contact_sheet(self.load())

    def done(self, since: datetime | None = None) -> dict[str, Callable[[], Any]]:
        """List the partitions that were written, since a moment if one is given.

        Empty files do not count: a power failure may leave them.
        """
        written = {
            self._path_to_partition(path)
            for path, info in self._files().items()
            if info["size"] and (since is None or self._filesystem.modified(path) >= since)
        }
        return {name: load for name, load in self.load().items() if name in written}

    def sweep(self) -> None:
        """Remove what dead processes left half-written, if the folder may be written to."""
        if self._protocol == "file" and not self._read_only:
            sweep(self._normalized_path)

    def fingerprint(self) -> str:
        """Summarise the folder by its files' names and sizes: `640 files, 3f2a9c01`."""
        files = self._files()
        if self._protocol == "file":  # fsspec passes over them without a word
            for _ in os.walk(self._normalized_path, onerror=_warn_of_unreadable):
                pass
        listing = sorted((name, info["size"]) for name, info in files.items())
        digest = hashlib.sha256(repr(listing).encode()).hexdigest()[:8]
        return f"{len(listing)} files, {digest}"

    def states(self) -> dict[str, FileState]:
        """Describe each partition's file, without reading more of it than its ends."""
        files = self._files()
        return {name: self._state(files, source(read)) for name, read in self.load().items()}

    def _state(self, files: dict[str, dict[str, Any]], path: str) -> FileState:
        info = files[path]
        if self._protocol != "file":
            return FileState(info["size"], str(info.get("ETag") or info.get("LastModified")))
        try:
            with open(path, "rb") as file:
                ends = file.read(END)
                file.seek(max(info["size"] - END, 0))
                ends += file.read(END)
        except OSError as error:  # a link to nothing: the checks of the photos say so
            return FileState(0, f"unreadable: {error.strerror}")
        return FileState(info["size"], hashlib.sha256(ends).hexdigest()[:8])

    def _files(self) -> dict[str, dict[str, Any]]:
        """Path of each file, or link to one, to the file system's information on it."""
        found: dict[str, dict[str, Any]] = self._filesystem.find(self._normalized_path, detail=True)
        return {path: info for path, info in found.items() if is_file(info)}

    def _list_partitions(self) -> list[str]:
        if self._cached_partitions is None:
            self._cached_partitions = [
                path
                for path in self._files()
                if path.endswith(self._filename_suffix) and not path.endswith(PART_SUFFIX)
            ]
        return self._cached_partitions


def _warn_of_unreadable(error: OSError) -> None:
    if isinstance(error, PermissionError):
        logger.warning(
            "%s: the folder cannot be read (%s); what lies in it is left out",
            *(error.filename, error.strerror),
        )


def _save_one(folder: FolderDataset, name: str, data: Any) -> Saved:
    register_atomic_file_systems()  # in a worker process
    folder.save({name: data})
    return Saved()


def check_no_symlink(path: Path, folder: Path) -> None:
    """Check that neither a file to be written nor a folder on its way from `folder` is a symlink.

    Raises:
        DatasetError: Naming the symlink.
    """
    for part in (path, *path.parents):
        if part == folder:
            return
        if part.is_symlink():
            raise DatasetError(f"'{part}' is a symlink: it is not replaced. Remove or move it.")


def is_file(info: dict[str, Any]) -> bool:
    """Whether it is a file or a link, also to nothing; folders and pipes, which block, are not."""
    return info["type"] == "file" or bool(info.get("islink"))


def source(read: Callable[[], Any]) -> str:
    """Return the path of the file that a reader, as `FolderDataset.load` lists it, reads."""
    return str(read.__self__._filepath)  # type: ignore[attr-defined]
