"""Local files that appear under their name only when they are completely written.

A process that is killed while a dataset saves would otherwise leave a truncated checkpoint or
map that looks like a finished one. All datasets of kedro-datasets write through fsspec, so that
one file system, registered for `file://`, serves them all; `affinitynet.datasets.s3` does for `s3://`.
"""

import os
import sys
import uuid
from glob import escape, has_magic
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem

PART_SUFFIX = ".part"
"""Suffix of a file that is still being written; one left behind by a crash is never read."""


class _StagedFile(LocalFileOpener):
    """A file for writing, staged beside its destination and renamed when it is closed.

    Not if an exception is on its way that was not there when it was opened: text wrappers pass
    none on to `__exit__`, they only close.
    """

    def __init__(self, path: str, mode: str, **kwargs: Any) -> None:
        self.destination = path
        self._outer = sys.exception()
        super().__init__(f"{path}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}", mode, **kwargs)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.f.closed:
            return
        self.f.close()
        if sys.exception() is self._outer:
            os.replace(self.path, self.destination)
        else:
            os.unlink(self.path)


class AtomicLocalFileSystem(LocalFileSystem):
    """fsspec's local file system with atomic writes (`mode="w…"`), and folders of any name."""

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any
    ) -> LocalFileOpener:
        if "w" not in mode or not kwargs.get("autocommit", True):
            return super()._open(path, mode, block_size, **kwargs)
        path = self._strip_protocol(path)
        if self.auto_mkdir:
            self.makedirs(self._parent(path), exist_ok=True)
        return _StagedFile(path, mode, fs=self, **kwargs)

    def glob(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """List what matches a pattern; a folder that exists is no pattern, whatever its name."""
        path = str(self._strip_protocol(path))
        folder = existing_folder(self, path)
        return super().glob(escape(folder) + path[len(folder) :], *args, **kwargs)


def existing_folder(files: AbstractFileSystem, path: str) -> str:
    """Return the part of a pattern before its first `*`, `?` or `[` that no folder has."""
    folder = path
    while has_magic(folder) and not files.isdir(folder):
        folder = folder.rpartition("/")[0]
    return folder


for _protocol in ("file", "local"):
    fsspec.register_implementation(_protocol, AtomicLocalFileSystem, clobber=True)
for _protocol in ("s3", "s3a"):  # by name: s3fs is an extra
    fsspec.register_implementation(
        _protocol, "affinitynet.datasets.s3.AtomicS3FileSystem", clobber=True
    )
