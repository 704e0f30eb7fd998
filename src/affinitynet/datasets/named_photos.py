"""The photos that a user names."""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from affinitynet.data.files import is_hidden, is_photo, without_raws
from affinitynet.datasets.atomic import existing_folder
from affinitynet.datasets.folder import FolderDataset, is_file

STDIN = "-"


class NamedPhotosDataset(FolderDataset):
    """Photos as lazily loaded partitions, by file name relative to the folder that has them all.

    `path` is one of

    - a folder: every photo in it and below;
    - a pattern, as `photos/**/*.jpg`: its matches; names are relative to `photos`;
    - one photo;
    - `-`: paths on the standard input, one a line (or ended by NUL bytes, as `find -print0`
      writes them); names are relative to the folder that they have in common.

    Folders and patterns give the files with a photo's suffix that are not hidden, also of formats
    that are not read, so that they are reported;
    files that are named by themselves are taken as they are, also if they do not exist, so that
    this can be reported.

    Example:
        ```yaml
        images:
          type: affinitynet.datasets.NamedPhotosDataset
          path: photos/**/*.jpg
          dataset: pillow.ImageDataset
        ```
    """

    def load(self) -> dict[str, Callable[[], Any]]:
        """List the photos: name to a function that loads the photo."""
        root = self._root
        return {os.path.relpath(path, root): read for path, read in super().load().items()}

    def lie_in(self, folder: Path) -> bool:
        """Whether photos lie in a folder, or files that are put into it would be taken for photos.

        It is an absolute path without symlinks.
        """
        path = self._path
        below = Path(os.path.dirname(path.split("**")[0]) if "**" in path else path)
        if below.is_dir() and folder.is_relative_to(below.resolve()):
            return True
        return folder in {Path(parent).resolve() for parent in map(os.path.dirname, self._files())}

    @property
    def _root(self) -> str:
        path = str(self._filesystem._strip_protocol(self._normalized_path))
        if not self._from_stdin and self._filesystem.isdir(path):
            return path
        if self._is_pattern:
            return existing_folder(self._filesystem, path)
        files = self._list_partitions()
        return os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""

    @property
    def _from_stdin(self) -> bool:
        return PurePosixPath(self._path).name == STDIN  # Kedro makes relative paths absolute

    @property
    def _is_pattern(self) -> bool:
        return any(c in self._path for c in "*?[") and not self._filesystem.exists(self._path)

    def _files(self) -> dict[str, dict[str, Any]]:
        files = self._filesystem
        if self._from_stdin or files.isfile(self._normalized_path):
            named = _listed(sys.stdin) if self._from_stdin else [self._normalized_path]
            paths = map(files._strip_protocol, named)
            return {
                path: files.info(path) if files.exists(path) else {"size": None} for path in paths
            }
        found = (
            files.glob(self._normalized_path, detail=True) if self._is_pattern else super()._files()
        )
        root = self._root if found else ""
        photos = {
            path: info
            for path, info in found.items()
            if is_file(info) and is_photo(path) and not is_hidden(os.path.relpath(path, root))
        }
        return {path: photos[path] for path in without_raws(photos)}

    def _list_partitions(self) -> list[str]:
        return sorted(self._files())

    def _path_to_partition(self, path: str) -> str:
        return path


@cache  # a stream can be read only once
def _listed(stream: TextIO) -> list[str]:
    text = stream.buffer.read()
    lines = text.split(b"\0") if b"\0" in text else text.splitlines()
    return [os.fsdecode(line) for line in lines if line]
