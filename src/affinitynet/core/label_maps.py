"""Label maps: the data set's mask values on disk, contiguous labels in memory, VOC's colours.

In memory label 0 is background, label k the k-th class, `IGNORE_INDEX` no label at all. On disk
a class keeps the value that the data set gives it (PASCAL VOC: cat 8, dog 12, …), so that every
mask that is written can be compared with the data set's own.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Label of pixels that neither train nor count: VOC's void, neutral pixels, other classes."""

LabelMap = npt.NDArray[np.uint8]


def decode(mask: npt.ArrayLike, values: Sequence[int]) -> LabelMap:
    """Turn mask values into labels.

    Args:
        mask: (H, W) integers in 0 … 255, as stored.
        values: Mask value of each class; class k (from 1) is `values[k - 1]`.

    Returns:
        (H, W) labels 0 … K; every value that is no class's becomes `IGNORE_INDEX`.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[0] = 0
    table[list(values)] = np.arange(1, len(values) + 1)
    return table[np.asarray(mask, np.uint8)]


def encode(labels: npt.ArrayLike, values: Sequence[int]) -> LabelMap:
    """Turn labels into mask values, the inverse of `decode`.

    Args:
        labels: (H, W) integers: 0 … K and `IGNORE_INDEX`.
        values: Mask value of each class.

    Returns:
        (H, W) mask values; `IGNORE_INDEX` stays.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[: len(values) + 1] = [0, *values]
    return table[np.asarray(labels, np.uint8)]


def voc_palette() -> npt.NDArray[np.uint8]:
    """Return PASCAL VOC's colours of the mask values: (256, 3) RGB.

    The bits of a value are dealt to red, green and blue in turn, most significant first.
    """
    values = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
                np.uint8
            )
    return palette
