"""The score maps of an image's classes, which flow from stage to stage."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from affinitynet.core.images import upsample
from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """Score maps of some of the data set's classes, on a grid over the image.

    Attributes:
        labels: (K,) uint8, the label of each map; 0 is the background.
        maps: (K, h, w) scores in [0, 1]; float16 where they are stored.
    """

    labels: npt.NDArray[np.uint8]
    maps: npt.NDArray[Any]

    def is_finite(self) -> bool:
        """Whether no score is NaN or infinite."""
        return bool(np.isfinite(self.maps).all())

    def resize(self, size: tuple[int, int]) -> Self:
        """Resize the maps bilinearly to (height, width); float32."""
        return type(self)(self.labels, upsample(self.maps, size))

    def with_background(self, alpha: float) -> Self:
        """Put the background's map before the others: M_bg = (1 - max_c M_c)^alpha (eq. 2)."""
        import torch

        from affinitynet.core.cams import with_background

        maps = with_background(torch.from_numpy(self.maps), alpha).numpy()
        return type(self)(np.array([0, *self.labels], np.uint8), maps)

    def argmax(self, size: tuple[int, int]) -> LabelMap:
        """Upsample to (height, width) and take the label of each pixel's highest score."""
        return self.name(upsample(self.maps, size).argmax(axis=0))

    def name(self, numbers: npt.NDArray[Any]) -> LabelMap:
        """Turn numbers of maps (H, W) into their labels; `IGNORE_INDEX` stays."""
        table = np.full(256, IGNORE_INDEX, np.uint8)
        table[: len(self.labels)] = self.labels
        labels: LabelMap = table[numbers]
        return labels
