"""Photos of any format that Pillow opens, and regions of them that another program made."""

import os
from collections.abc import Callable
from typing import Any

from kedro.io.core import get_filepath_str
from kedro_datasets.pillow import ImageDataset
from PIL import Image, UnidentifiedImageError

from affinitynet.core.segments import SLIC
from affinitynet.data.files import is_hidden, is_photo, name_photos, why_not_read, without_raws
from affinitynet.datasets.folder import FolderDataset


class PhotoDataset(ImageDataset):
    """A photo: upright, in 8-bit RGB, whatever its file holds; see `core.images.load_photo`."""

    def load(self) -> Image.Image:
        """Read the photo in full."""
        from affinitynet.core.images import load_photo

        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_load) as file:
            try:
                return load_photo(file)
            except UnidentifiedImageError:
                raise ValueError(why_not_read(path)) from None


class Photos(dict[str, Callable[[], Any]]):
    """Photo id to a function that loads the photo, and the folder's other files.

    Attributes:
        others: Files beside the photos, relative to the folder.
        links: Links to folders, which are not followed.
    """

    def __init__(
        self, readers: dict[str, Callable[[], Any]], others: list[str], links: list[str]
    ) -> None:
        super().__init__(readers)
        self.others = others
        self.links = links


class PhotosDataset(FolderDataset):
    """A `FolderDataset` of photos: all suffixes at once, sub-folders too, hidden files left out.

    A photo's id is its path in the folder without suffix, `dog/rex` for `dog/rex.jpg`. Where two
    photos differ in nothing but their suffix, both keep it. Files that are photos but cannot be
    read (camera raw files, HEIC without pillow-heif) are listed too, so that they are reported,
    unless the same photo is there in another format.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dataset": "affinitynet.datasets.PhotoDataset"} | kwargs)

    def load(self) -> Photos:
        """List the folder: photo id to a function that loads the photo."""
        files = super().load()
        named = name_photos(without_raws(files))
        photos = {image_id: files[file] for image_id, file in named.items()}
        others = {*self._files()}.difference(self._list_partitions())
        links = [path for path in others if self._protocol == "file" and os.path.isdir(path)]
        names = map(self._path_to_partition, others.difference(links))
        return Photos(photos, [*names], [*map(self._path_to_partition, links)])

    def _list_partitions(self) -> list[str]:
        files = {path: self._path_to_partition(path) for path in super()._list_partitions()}
        return [path for path, file in files.items() if is_photo(file) and not is_hidden(file)]


class RegionsDataset(ImageDataset):
    """An image that knows its file's format, so that a JPEG can be refused."""

    def load(self) -> Image.Image:
        """Read the image in full."""
        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_load) as file:
            image = Image.open(file)
            image.load()
            return image


class SegmentsDataset(FolderDataset):
    """Images of regions by file name; a `path` of None, or `slic`, has none."""

    def __init__(self, *, path: str | None, **kwargs: Any) -> None:
        options: dict[str, Any] = {"path": path or SLIC, "dataset": RegionsDataset}
        super().__init__(**options | kwargs)
        self._given = path not in (None, SLIC)

    def _list_partitions(self) -> list[str]:
        return super()._list_partitions() if self._given else []

    def fingerprint(self) -> str:
        """Summarise the folder, see `FolderDataset`; `none` without one."""
        return super().fingerprint() if self._given else "none"
