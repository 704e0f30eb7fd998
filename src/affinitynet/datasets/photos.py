"""Photos of a folder and its sub-folders, of any format that Pillow opens."""

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import PurePosixPath
from typing import Any

from affinitynet.datasets.folder import FolderDataset

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Files that are taken for photos, in lower or upper case."""


class PhotosDataset(FolderDataset):
    """A `FolderDataset` of photos: all suffixes at once, sub-folders too, hidden files left alone.

    A photo's id is its path in the folder without suffix, `dog/rex` for `dog/rex.jpg`. Where two
    photos differ in nothing but their suffix, both keep it.

    Example:
        ```yaml
        photos:
          type: affinitynet.datasets.PhotosDataset
          path: data/01_raw/photos
        ```
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dataset": "pillow.ImageDataset"} | kwargs)

    def load(self) -> dict[str, Callable[[], Any]]:
        """List the folder: photo id to a function that loads the photo."""
        files = super().load()
        return {image_id: files[file] for image_id, file in name_photos(files).items()}

    def _list_partitions(self) -> list[str]:
        return [path for path in super()._list_partitions() if self._is_photo(path)]

    def _is_photo(self, path: str) -> bool:
        file = self._path_to_partition(path)
        return PurePosixPath(file).suffix.lower() in PHOTO_SUFFIXES and not is_hidden(file)


def is_hidden(file: str) -> bool:
    """Tell files of a hidden name, or in a hidden folder: macOS strews `._rex.jpg` about."""
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(file).parts)


def name_photos(files: Collection[str]) -> dict[str, str]:
    """Give every file an id: its name without suffix, unless that could mean another file too."""
    stems = {file: PurePosixPath(file).with_suffix("").as_posix() for file in files}
    uses = Counter(stems.values())
    taken = set(files)
    return {
        stem if uses[stem] == 1 and stem not in taken else file: file
        for file, stem in stems.items()
    }
