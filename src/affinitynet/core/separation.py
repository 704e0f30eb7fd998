"""How well label maps fit their photos, without any truth to compare them with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.images import upsample
from affinitynet.core.label_maps import LabelMap

OTHERS = 2
"""Photos that the label maps of a photo are tried on."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Several label maps of one photo.

    Attributes:
        features: (C, H, W) arrays, what the photo shows.
        labels: (N, H, W) from 0.
    """

    features: Sequence[npt.NDArray[np.floating[Any]]]
    labels: LabelMap


def explained_variance(
    features: npt.NDArray[np.floating[Any]], labels: LabelMap
) -> npt.NDArray[np.float64]:
    """Measure the share of a photo's variance that lies between the regions of a label map.

    This is Otsu's criterion, for any number of regions and features: a region that takes in parts
    of another explains less.

    Args:
        features: (C, H, W).
        labels: (N, H, W) from 0.

    Returns:
        (N,) in [0, 1].
    """
    pixels = features.reshape(len(features), -1).T.astype(np.float32)
    pixels -= pixels.mean(axis=0)
    flat = labels.reshape(len(labels), -1)
    between = np.zeros(len(labels))
    for label in range(int(flat.max()) + 1):
        inside = (flat == label).astype(np.float32)
        sums = inside @ pixels
        between += (sums**2).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return between / max(float((pixels**2).sum()), np.finfo(float).tiny)


def fit(photos: Sequence[Proposals]) -> npt.NDArray[np.float64]:
    """Compare how much label maps explain of their own photo with how much of other photos.

    Explained variance alone favours regions of half a photo, and regions in its middle, whatever
    it shows. On other photos the same regions explain that much and no more.

    Args:
        photos: With the same number of label maps and of features. One alone is compared with
            nothing.

    Returns:
        (N,) the mean difference of the shares; higher is better.
    """
    gains = []
    for i, photo in enumerate(photos):
        own = _explained(photo.features, photo.labels)
        others = [photos[(i + 1 + k) % len(photos)] for k in range(min(OTHERS, len(photos) - 1))]
        theirs = [_explained(other.features, photo.labels) for other in others]
        gains.append(own - np.mean(theirs, axis=0) if theirs else own)
    return np.asarray(np.mean(gains, axis=0))


def _explained(
    features: Sequence[npt.NDArray[np.floating[Any]]], labels: LabelMap
) -> npt.NDArray[np.float64]:
    size = (labels.shape[1], labels.shape[2])
    shares = [explained_variance(upsample(each, size), labels) for each in features]
    return np.asarray(np.mean(shares, axis=0))
