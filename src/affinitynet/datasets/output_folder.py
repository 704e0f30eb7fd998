"""Folders that inference writes for its user: nothing is replaced that it has not written."""

import json
import os
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from kedro.io import DatasetError

from affinitynet.data.files import is_hidden
from affinitynet.datasets.folder import FolderDataset, Saved, check_no_symlink
from affinitynet.datasets.named_photos import NamedPhotosDataset
from affinitynet.errors import UserError, name_some

RECORD_FOLDER = ".affinitynet"
"""Hidden folder in an output folder, for the record and for files that are being written."""

RECORD = "written.jsonl"
"""A line for each file that was written: its name in the folder and its SHA-256."""

ABANDONED = 3600.0
"""Seconds after which nobody writes a file any more that is not complete."""


class OutputFolderDataset(FolderDataset):
    """A folder named by a parameter, of which only files are replaced that inference wrote.

    Each file is written under another name first. Its name and SHA-256 are then added to a record
    in the folder, and after that it gets its name. So a file without a line in the record is never
    one of ours, even if a run was killed; nor is one that was edited since.

    An object store keeps no such record: there, a folder must be empty when a run begins.

    Args:
        parameter: Name of the parameter that gives the folder, for messages.
        **kwargs: See `FolderDataset`.

    Example:
        ```yaml
        inference.masks:
          type: affinitynet.datasets.OutputFolderDataset
          parameter: output
          path: masks
          filename_suffix: .png
          dataset: affinitynet.datasets.LabelMapDataset
        ```
    """

    def __init__(self, *, parameter: str, **kwargs: Any) -> None:
        super().__init__(**kwargs, read_only=False)
        self.parameter = parameter
        self._made: set[str] | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether the run writes to the folder: `begin` was called."""
        return self._made is not None

    @property
    def is_local(self) -> bool:
        """Whether the folder is one of this machine's file system."""
        return bool(self._protocol == "file")

    @property
    def folder(self) -> Path:
        """The folder, as an absolute path."""
        return Path(self._filesystem._strip_protocol(self._normalized_path))

    def begin(self, since: datetime | None = None) -> None:
        """Check that all files in the folder are ours; from now on, list those of this run only.

        Args:
            since: Start of the unfinished run that is resumed; its files count as this run's.

        Raises:
            UserError: Naming files that no inference wrote.
        """
        resumed_remotely = since is not None and not self.is_local
        if not resumed_remotely and (foreign := [*self._foreign()]):
            raise UserError(
                f"{self.parameter}={self._path} holds files that no inference of this project "
                f"wrote: {name_some(foreign)}. It would replace files of those "
                f"names. Name another folder: --params {self.parameter}=<folder>"
            )
        self._made = None
        self._made = {*self.done(since)} if since else set()

    def prepare(self) -> None:
        """Make the folder, and check that it can be written to.

        Raises:
            UserError: If it cannot.
        """
        if not self.is_local:
            return
        try:
            (self.folder / RECORD_FOLDER).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise UserError(
                f"{self.parameter}={self._path}: cannot be written to ({error.strerror}). Name "
                f"another folder: --params {self.parameter}=<folder>"
            ) from error
        for path in (self.folder / RECORD_FOLDER).iterdir():  # what a killed run has left
            if path.name != RECORD and path.stat().st_mtime < time.time() - ABANDONED:
                path.unlink(missing_ok=True)

    def save(self, data: dict[str, Any]) -> None:
        """Write files into the folder; see `FolderDataset`.

        Raises:
            DatasetError: If a file of that name is not ours, or is a symlink.
        """
        if self.is_local:
            for name, each in data.items():
                if not isinstance(each, Saved):
                    self._write(name, each)
        else:
            super().save(data)
        if self._made is not None:
            self._made |= data.keys()

    def load(self) -> dict[str, Callable[[], Any]]:
        """List the files: those of this run once it has begun, else all."""
        files = super().load()
        return {
            name: read for name, read in files.items() if self._made is None or name in self._made
        }

    def done(self, since: datetime | None = None) -> dict[str, Callable[[], Any]]:
        """List the files that the run begun at that moment wrote."""
        files = super().done(since)
        if not self.is_local:
            return files
        record = self._read_record()
        return {
            name: read
            for name, read in files.items()
            if self._is_ours(Path(self._partition_to_path(name)), record)
        }

    def _files(self) -> dict[str, dict[str, Any]]:
        hidden = f"/{RECORD_FOLDER}/"
        return {path: info for path, info in super()._files().items() if hidden not in path}

    def _foreign(self) -> Iterator[str]:
        """Name the files that are not ours; hidden ones are never written over."""
        if not self.is_local:
            yield from self._list_partitions()
            return
        digests = defaultdict(set)
        for line in self._read_record().split(b"\n"):
            if line[:1] + line[-1:] == b"[]":  # else it was cut off
                name, digest = json.loads(line)
                digests[name].add(digest)
        for path in _walk(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if path.is_symlink():
                yield f"{name} (a symlink)"
            elif not path.is_file() or name not in digests:
                yield name
            elif _digest(path) not in digests[name]:
                yield f"{name} (changed since it was written)"

    def _is_ours(self, path: Path, record: bytes) -> bool:
        name = path.relative_to(self.folder).as_posix()
        return not path.is_symlink() and b"\n" + _line(name, _digest(path)) + b"\n" in record

    def _write(self, name: str, data: Any) -> None:
        path = Path(self._partition_to_path(name))
        check_no_symlink(path, self.folder)
        if path.exists() and not self._is_ours(path, self._read_record()):
            raise DatasetError(
                f"'{path}' was not written by an inference of this project, or was changed since. "
                f"It is not replaced: name another folder, --params {self.parameter}=<folder>"
            )
        staged = f"{RECORD_FOLDER}/{uuid.uuid4().hex}"
        super().save({staged: data})
        written = Path(self._partition_to_path(staged))
        line = _line(path.relative_to(self.folder).as_posix(), _digest(written))
        with self._record.open("ab") as file:
            file.write(b"\n" + line + b"\n")  # a line that was cut off spoils no other
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(written, path)

    @property
    def _record(self) -> Path:
        return self.folder / RECORD_FOLDER / RECORD

    def _read_record(self) -> bytes:
        return self._record.read_bytes() if self._record.is_file() else b""


def begin_outputs(
    outputs: Sequence[OutputFolderDataset], images: NamedPhotosDataset, since: datetime | None
) -> None:
    """Check the folders that inference is about to write to, before it does anything.

    Args:
        outputs: The folders; several may be one parameter's.
        since: Start of the unfinished run that is resumed, if any.

    Raises:
        UserError: If a folder lies among the photos or in another one, holds files that are not
            ours, or cannot be written to.
    """
    by_parameter = {output.parameter: output for output in outputs}
    folders = {name: output.folder.resolve() for name, output in by_parameter.items()}
    for name, output in by_parameter.items():
        if output.is_local and images.lie_in(folders[name]):
            raise UserError(
                f"{name}={output._path} lies in images={images._path}: {name} would be written "
                "over photos, or be taken for photos the next time. Name a folder of its own: "
                f"--params {name}=<folder>"
            )
        for other, another in by_parameter.items():
            inside = folders[name].is_relative_to(folders[other])
            if name != other and inside and (other != "coco" or folders[name] == folders[other]):
                raise UserError(
                    f"{name}={output._path} lies in {other}={another._path}: photos of some names "
                    "would have both in one file. Name folders side by side"
                )
    for output in outputs:
        output.begin(since)
    for output in outputs:
        output.prepare()


def _walk(folder: Path) -> Iterator[Path]:
    """Files and symlinks that are not hidden, but for other output folders' in this one."""
    for parent, names, files in os.walk(folder):
        links = [name for name in names if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in sorted(files + links) if not is_hidden(name))
        names[:] = [
            name
            for name in sorted(names)
            if not is_hidden(name) and not Path(parent, name, RECORD_FOLDER).is_dir()
        ]


def _line(name: str, digest: str) -> bytes:
    return json.dumps([name, digest]).encode()


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
