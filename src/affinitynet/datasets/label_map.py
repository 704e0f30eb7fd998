"""Label maps as indexed PNGs."""

import numpy as np
import numpy.typing as npt
from kedro.io import DatasetError
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from affinitynet.core.label_maps import voc_palette


class LabelMapDataset(ImageDataset):
    """A label map: an (H, W) uint8 array in memory, an indexed PNG with VOC's palette on disk.

    Example:
        ```yaml
        mask:
          type: affinitynet.datasets.LabelMapDataset
          filepath: data/07_model_output/2007_000032.png
        ```
    """

    def load(self) -> npt.NDArray[np.uint8]:
        """Read the values of an indexed (or 8-bit greyscale) PNG.

        Returns:
            (H, W) uint8.

        Raises:
            DatasetError: If the file is a colour image, whose values are no labels.
        """
        image = super().load()
        if image.mode not in ("P", "L"):
            raise DatasetError(
                f"{self._filepath.name} is a {image.mode} image. A mask must be an indexed PNG "
                "whose pixel values are class indices (mode P or L)."
            )
        return np.asarray(image)

    def save(self, data: npt.NDArray[np.uint8]) -> None:
        """Write the values with VOC's palette."""
        super().save(indexed_image(data))


def indexed_image(mask: npt.ArrayLike) -> Image.Image:
    """Make an indexed image with VOC's palette of a mask (H, W), values 0 … 255."""
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette(voc_palette().tobytes())
    return image
