"""Files that are taken over as they are."""

import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kedro.io import DatasetError
from kedro_datasets.text import TextDataset

from affinitynet.datasets.atomic import PART_SUFFIX


@dataclass(frozen=True)
class LocalFile:
    """A local file to take over.

    Attributes:
        path: Where it lies.
        link: Whether a hard link will do, which shares its content with the original.
    """

    path: Path
    link: bool = False


class StoredFileDataset(TextDataset):
    """The bytes of a file; or, to save without holding them, a `LocalFile` to take over."""

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "wb"},
        "open_args_load": {"mode": "rb"},
    }

    def save(self, data: bytes | LocalFile) -> None:
        """Write bytes, or copy a local file, or link it where that is asked for and possible.

        Raises:
            DatasetError: If the file is gone.
        """
        if not isinstance(data, LocalFile):
            super().save(data)
        elif self._protocol == "file":
            _take_over(data, Path(self._get_save_path()))
        else:
            super().save(data.path.read_bytes())


def _take_over(file: LocalFile, destination: Path) -> None:
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        if file.link:
            with suppress(OSError):  # not every file system can
                os.link(file.path, part)
        if not os.path.lexists(part):
            _copy(file.path, part)
        os.replace(part, destination)
    except FileNotFoundError as error:
        raise DatasetError(f"'{file.path}' is gone.") from error
    finally:
        part.unlink(missing_ok=True)  # os.replace leaves it where both are the same file already


def _copy(source: Path, destination: Path) -> None:
    """Copy a file; the copy shares its blocks until it is changed, where the file system can."""
    with source.open("rb") as read, destination.open("wb") as write:
        left = os.fstat(read.fileno()).st_size
        try:
            while copied := os.copy_file_range(read.fileno(), write.fileno(), 2**30):
                left -= copied
        except (AttributeError, OSError):  # not on this system, or between these file systems
            left = -1
        if left:
            read.seek(0)
            write.seek(0)
            shutil.copyfileobj(read, write)
