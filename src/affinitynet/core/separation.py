"""How well label maps divide photos, without any truth to compare them with.

Otsu's criterion is the variance between regions. Here it is taken over all photos at once: a class
has one mean in all of them, so that regions of a class have to look alike, and the background
unlike them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.label_maps import LabelMap

Floats = npt.NDArray[np.float32]
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class RegionSums:
    """What a photo's label maps group together.

    Attributes:
        labels: (K,) class of each region, 0 for the background.
        sizes: (N, K) share of the photo that each of N label maps gives to a region.
        sums: (N, K, C) features of a region, summed, where all of the photo has a mean of zero
            and a variance of one; per pixel of the photo.
    """

    labels: npt.NDArray[np.uint8]
    sizes: Floats
    sums: npt.NDArray[np.float16]


def sum_regions(
    levels: Sequence[npt.NDArray[np.floating[Any]]],
    label_maps: LabelMap,
    labels: npt.NDArray[np.uint8],
) -> RegionSums:
    """Sum a photo's features over the regions of label maps.

    Args:
        levels: Each (C, H, W); all levels count alike.
        label_maps: (N, H, W) in 0 … K - 1.
        labels: (K,) class of each of these.
    """
    regions = label_maps.reshape(len(label_maps), 1, -1) == np.arange(len(labels))[:, None]
    masks = regions.astype(np.float32)
    sums = []
    for level in levels:
        pixels = level.reshape(len(level), -1).T.astype(np.float32)
        pixels -= pixels.mean(axis=0)
        variance = float(np.square(pixels).sum()) * len(pixels) * len(levels)
        sums.append(masks @ pixels / max(variance, TINY) ** 0.5)
    return RegionSums(labels, masks.mean(axis=2), np.concatenate(sums, axis=2).astype(np.float16))


def variance_between_classes(photos: Iterable[RegionSums], classes: int) -> Floats:
    """Measure how much of the photos' variance lies between the classes, the background one more.

    Args:
        photos: With the same settings behind their N label maps.
        classes: Number of classes, without the background.

    Returns:
        (N,) in [0, 1], by setting; NaN without photos.
    """
    sums, sizes, count = np.zeros(()), np.zeros(()), 0
    for count, photo in enumerate(photos, start=1):
        if count == 1:
            settings, _, channels = photo.sums.shape
            sums = np.zeros((settings, classes + 1, channels), np.float32)
            sizes = np.zeros((settings, classes + 1), np.float32)
        sums[:, photo.labels] += photo.sums
        sizes[:, photo.labels] += photo.sizes
    between: Floats = (np.square(sums).sum(axis=-1) / np.maximum(sizes, TINY)).sum(axis=-1)
    return between / (count or np.nan)
