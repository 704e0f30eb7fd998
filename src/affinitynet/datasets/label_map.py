"""Label maps as indexed PNGs."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kedro.io.core import get_filepath_str
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from affinitynet.core.label_maps import LabelMap, read_mask, voc_palette
from affinitynet.data.labelmap import ColourMap, parse_labelmap


class LabelMapDataset(ImageDataset):
    """A label map: an (H, W) uint8 array in memory, an indexed PNG with VOC's palette on disk.

    Other images are read too, see `core.label_maps.read_mask`.

    Args:
        labelmap: CVAT's `labelmap.txt`, which names the colours; None for VOC's.
        **kwargs: Of `ImageDataset`.
    """

    def __init__(self, *, labelmap: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._labelmap = labelmap

    def load(self) -> LabelMap:
        """Read the mask values: (H, W) uint8.

        Raises:
            DatasetError: If the image has colours or values that are no mask's.
        """
        colours = read_labelmap(self._labelmap).values if self._labelmap else None
        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_load) as file:
            return read_mask(Image.open(file), colours)

    def save(self, data: npt.NDArray[np.uint8]) -> None:
        """Write the values with VOC's palette."""
        super().save(indexed_image(data))


@cache
def read_labelmap(path: str) -> ColourMap:
    """Read a `labelmap.txt`, once in a process."""
    return parse_labelmap(Path(path).read_bytes(), path)


def indexed_image(mask: npt.ArrayLike) -> Image.Image:
    """Make an indexed image with VOC's palette of a mask (H, W), values 0 … 255."""
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette(voc_palette().tobytes())
    return image
