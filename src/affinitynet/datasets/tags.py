"""Files of tags that the user provides."""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

SUFFIXES = (".json", ".jsonl", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names")
"""Files of a folder of annotations."""
YOLO = (".yaml", ".yml")
"""A data set's own file, which stands for its folder."""
METADATA = ("metadata.csv", "metadata.jsonl")
"""Files that `datasets` (Hugging Face) writes beside the photos."""
Source = bytes | dict[str, Callable[[], bytes]] | None


class TagsDataset(AbstractDataset[NoReturn, Source]):
    """A file as bytes, or the annotation files of a folder, read only.

    What they mean, and whether it is wrong that they are missing, is for the checks of the input
    to say, together with all else that is wrong.

    Args:
        filepath: The file or folder; None for `metadata.csv` or `metadata.jsonl` among the photos.
        photos: Their folder.
    """

    def __init__(
        self,
        *,
        filepath: str | None,
        photos: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath) if filepath else None
        if self._filepath and self._filepath.suffix.lower() in YOLO and self._filepath.is_file():
            self._filepath = self._filepath.parent
        self._photos = Path(photos) if photos else None
        self.metadata = metadata

    def load(self) -> Source:
        """Read the file, or list the folder: path in it to a function that reads the file.

        It is None if there is no such file, or none is named.
        """
        if self._filepath and self._filepath.is_file():
            return self._filepath.read_bytes()
        files: dict[str, Callable[[], bytes]] = {
            file: partial(Path.read_bytes, path) for file, path in self._files().items()
        }
        return files if files or (self._filepath and self._filepath.is_dir()) else None

    def save(self, data: NoReturn) -> NoReturn:
        """Refuse: the file is the user's own."""
        raise DatasetError(f"'{self._filepath}' is the user's own file: it is only read.")

    def fingerprint(self) -> str:
        """Summarise the file: `1204 bytes, 3f2a9c01`; or the files of a folder, by their sizes."""
        data = self.load()
        if data is None:
            return "none"
        if isinstance(data, bytes):
            return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:8]}"
        sizes = sorted((file, path.stat().st_size) for file, path in self._files().items())
        return f"{len(sizes)} files, {hashlib.sha256(repr(sizes).encode()).hexdigest()[:8]}"

    def _files(self) -> dict[str, Path]:
        if self._filepath is None:
            folder, names = self._photos, METADATA
            paths = [p for name in names for p in folder.rglob(name)] if folder else []
        else:
            folder = self._filepath
            paths = [p for p in folder.rglob("*") if p.name.lower().endswith(SUFFIXES)]
            # YOLO's folder of labels lies beside the file that names the classes
            names = ("data.yaml", "classes.txt")
            above = [
                each / name for each in (folder.parent, folder.parent.parent) for name in names
            ]
            if folder.is_dir() and {p.suffix.lower() for p in paths} == {".txt"}:
                paths += above
        found = [path for path in paths if path.is_file() and not path.name.startswith(".")]
        return {os.path.relpath(path, folder): path for path in found} if folder else {}

    def _exists(self) -> bool:
        return bool(self._filepath and self._filepath.exists())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "photos": self._photos}
