"""Regions of the photos that another program made."""

from typing import Any

from kedro.io.core import get_filepath_str
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from affinitynet.core.segments import SLIC
from affinitynet.datasets.folder import FolderDataset


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
