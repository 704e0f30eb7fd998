"""Photos of a folder and its sub-folders, of any format that Pillow opens."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from affinitynet.data.files import PHOTO_SUFFIXES, is_hidden, name_photos
from affinitynet.datasets.folder import FolderDataset


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
