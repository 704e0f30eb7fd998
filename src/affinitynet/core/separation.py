"""How well label maps divide a photo, without any truth to compare them with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.label_maps import LabelMap


def explained_variance(
    features: npt.NDArray[np.floating[Any]], labels: LabelMap
) -> npt.NDArray[np.float64]:
    """Measure the share of a photo's variance that lies between the regions of a label map.

    This is Otsu's criterion, for any number of regions and features: a region that takes in parts
    of another explains less.

    Args:
        features: (C, H, W).
        labels: (N, H, W) from 0, one or more label maps.

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
