"""Masks that know how sure the network is of them."""

from dataclasses import dataclass
from typing import Any

from kedro.io.core import get_filepath_str
from kedro_datasets.pillow import ImageDataset
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from affinitynet.core.label_maps import LabelMap, read_mask
from affinitynet.datasets.label_map import indexed_image

CONFIDENCE = "confidence"
"""Key of the PNG's text."""


@dataclass(frozen=True, eq=False)
class ScoredMask:
    """A predicted mask.

    Attributes:
        mask: (H, W) mask values.
        confidence: Mean probability of the pixels' classes, in [0, 1]; None if it is not known.
    """

    mask: LabelMap
    confidence: float | None


class ScoredMaskDataset(ImageDataset):
    """An indexed PNG with VOC's palette; its mean confidence is a text in the file."""

    def load(self) -> ScoredMask:
        """Read the mask."""
        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_load) as file:
            image = Image.open(file)
            mask = read_mask(image)
            stored: Any = image.info.get(CONFIDENCE)
            return ScoredMask(mask, None if stored is None else float(stored))

    def save(self, data: ScoredMask) -> None:
        """Write the mask."""
        path = get_filepath_str(self._get_save_path(), self._protocol)
        text = PngInfo()
        if data.confidence is not None:
            text.add_text(CONFIDENCE, f"{data.confidence:.4f}")
        with self._fs.open(path, **self._fs_open_args_save | {"mode": "wb"}) as file:
            indexed_image(data.mask).save(file, "png", pnginfo=text)
