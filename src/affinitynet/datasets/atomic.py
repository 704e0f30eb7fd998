"""Local files that appear under their name only when they are completely written.

A process that is killed while a dataset saves would otherwise leave a truncated checkpoint or
map that looks like a finished one. All datasets of kedro-datasets write through fsspec. A process
of `kedro run` registers one file system for `file://`, which serves them all, and
`affinitynet.datasets.s3` for `s3://`; see `register_atomic_file_systems`.
"""

import errno
import hashlib
import logging
import os
import re
import socket
import sys
import time
import uuid
from contextlib import suppress
from functools import cache
from glob import escape, has_magic
from pathlib import Path
from typing import Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem

logger = logging.getLogger(__name__)

PART_SUFFIX = ".part"
"""Suffix of a file that is still being written; one left behind by a crash is never read."""

ABANDONED = 86_400.0
"""Seconds without a write after which a file counts as left behind, if its writer is not known."""

SYNCED = (".json", ".csv", ".pt")
"""Suffixes of files that are on the disk before they appear under their name: markers, records,
tables and checkpoints. Of images and maps there are many: `os.sync` does them all at once."""

_PART = re.compile(r"\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.part|.+\.[0-9a-f]{8}\.part")


def part_path(destination: str | Path) -> str:
    """Name a new file beside a destination, renamed to it later; it names the process."""
    name = f".{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{PART_SUFFIX}"
    return os.path.join(os.path.dirname(destination), name)


def sweep(folder: str | Path) -> int:
    """Remove the files that dead processes left half-written in a folder and below; count them.

    Those of a process of this machine that is alive stay, and so do young ones of other machines.
    """
    count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if name.endswith(PART_SUFFIX) and _is_left_behind(path, name):
                with suppress(OSError):  # another sweep was faster, or the folder is not ours
                    os.unlink(path)
                    count += 1
    if count:
        logger.info("Removed %d half-written files of earlier runs from %s.", count, folder)
    return count


def _is_left_behind(path: str, name: str) -> bool:
    found = _PART.fullmatch(name)
    if not found:
        return False
    if found["host"] == _host():
        return not is_process(int(found["pid"]))
    try:
        return time.time() - os.stat(path).st_mtime > ABANDONED
    except OSError:
        return False


def is_process(pid: int) -> bool:
    """Whether this machine has a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


@cache
def _host() -> str:
    """Name this machine, or this container: process ids mean something only within it."""
    name = socket.gethostname()
    with suppress(OSError):  # Linux only
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]


class _StagedFile(LocalFileOpener):
    """A file for writing, staged beside its destination and renamed when it is closed.

    Not if an exception is on its way that was not there when it was opened: text wrappers pass
    none on to `__exit__`, they only close.
    """

    def __init__(self, path: str, mode: str, **kwargs: Any) -> None:
        if os.path.islink(path):
            raise FileExistsError(
                errno.EEXIST,
                f"a link to '{os.path.realpath(path)}', which is not replaced; remove the link, or "
                "write to another folder",
                path,
            )
        self.destination = path
        self._outer = sys.exception()
        super().__init__(part_path(path), mode, **kwargs)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.f.closed:
            return
        try:
            if sys.exception() is self._outer:
                self.f.flush()
                if self.destination.endswith(SYNCED):
                    os.fsync(self.f.fileno())  # or a power failure might leave an empty file
                self.f.close()
                os.replace(self.path, self.destination)
        finally:
            with suppress(OSError):  # what cannot be written any more
                self.f.close()
            with suppress(FileNotFoundError):
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
        """List the matches of a pattern; a folder that exists is no pattern, whatever its name."""
        path = str(self._strip_protocol(path))
        folder = existing_folder(self, path)
        return super().glob(escape(folder) + path[len(folder) :], *args, **kwargs)


def existing_folder(files: AbstractFileSystem, path: str) -> str:
    """Return the part of a pattern before its first `*`, `?` or `[` that no folder has."""
    folder = path
    while has_magic(folder) and not files.isdir(folder):
        folder = folder.rpartition("/")[0]
    return folder


def register_atomic_file_systems() -> None:
    """Let all datasets of this process write atomically, also those of kedro-datasets.

    This replaces fsspec's implementations for the whole process: it is for `kedro run` and its
    workers. Importing the package does not do it.
    """
    for protocol in ("file", "local"):
        fsspec.register_implementation(protocol, AtomicLocalFileSystem, clobber=True)
    for protocol in ("s3", "s3a"):  # by name: s3fs is an extra
        fsspec.register_implementation(
            protocol, "affinitynet.datasets.s3.AtomicS3FileSystem", clobber=True
        )
