"""How well label maps divide photos, without any truth to compare them with.

Otsu's criterion is the variance between regions. Here it is taken over all photos at once: a class
has one mean in all of them, so that regions of a class have to look alike, and the background
unlike them. Each photo has several label maps to choose from; the choice with the largest variance
between the classes is sought by coordinate ascent, photo by photo, as in Hartigan's k-means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.label_maps import LabelMap

Floats = npt.NDArray[np.float64]
SWEEPS = 10
"""Passes over the photos at most; on the sets that were tried 2 or 3 left nothing to change."""
TINY = np.finfo(float).tiny


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
    sizes: npt.NDArray[np.float32]
    sums: npt.NDArray[np.float16]

    def explained(self) -> Floats:
        """Return the share of the photo's variance between its own regions: (N,) in [0, 1]."""
        return _between(self.sums.astype(float), self.sizes)


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
        variance = float((pixels**2).sum()) * len(pixels) * len(levels)
        sums.append(masks @ pixels / max(variance, TINY) ** 0.5)
    return RegionSums(labels, masks.mean(axis=2), np.concatenate(sums, axis=2).astype(np.float16))


class ClassSums:
    """The regions of many photos, by class."""

    def __init__(self, classes: int, channels: int) -> None:
        self._sums, self._sizes = np.zeros((classes + 1, channels)), np.zeros(classes + 1)

    def add(self, photo: RegionSums, choice: int, *, times: int = 1) -> None:
        """Add the regions of one of a photo's label maps; with `times` -1 take them away."""
        self._sums[photo.labels] += times * photo.sums[choice].astype(float)
        sizes = self._sizes[photo.labels] + times * photo.sizes[choice].astype(float)
        self._sizes[photo.labels] = np.maximum(sizes, 0)

    def between(self) -> float:
        """Return the variance between the classes, summed over the photos."""
        return float(_between(self._sums, self._sizes))

    def best(self, photo: RegionSums) -> int:
        """Return the label map of a further photo that leaves most variance between the classes."""
        sums = self._sums[photo.labels] + photo.sums.astype(float)
        sizes = self._sizes[photo.labels] + photo.sizes.astype(float)
        return int(_between(sums, sizes).argmax())


def _gather(photos: Sequence[RegionSums], choices: Sequence[int], classes: int) -> ClassSums:
    gathered = ClassSums(classes, photos[0].sums.shape[-1])
    for photo, choice in zip(photos, choices, strict=True):
        gathered.add(photo, choice)
    return gathered


def choose_label_maps(photos: Sequence[RegionSums], classes: int) -> tuple[list[int], ClassSums]:
    """Choose a label map of each photo, so that most variance lies between the classes.

    Args:
        photos: With the same settings behind their N label maps: the search starts at the best
            of them for all photos.
        classes: Number of classes, without the background.

    Returns:
        The choices, and the classes' regions in the label maps that were chosen.
    """
    settings = range(len(photos[0].sums))
    start = max(settings, key=lambda n: _gather(photos, [n] * len(photos), classes).between())
    choices = [start] * len(photos)
    regions = _gather(photos, choices, classes)
    for _ in range(SWEEPS):
        before = [*choices]
        for i, photo in enumerate(photos):
            regions.add(photo, choices[i], times=-1)
            choices[i] = regions.best(photo)
            regions.add(photo, choices[i])
        if choices == before:
            break
    return choices, regions


def _between(sums: Floats, sizes: npt.NDArray[np.floating[Any]]) -> Floats:
    shares: Floats = ((sums**2).sum(axis=-1) / np.maximum(sizes, TINY)).sum(axis=-1)
    return shares
