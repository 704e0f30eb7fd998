"""Regions of an image that know no class, and their vote on the classes of their pixels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SLIC = "slic"
"""In place of a folder of regions: superpixels."""

Labels = npt.NDArray[np.integer[Any]]
Segments = npt.NDArray[np.int32]
"""(H, W) number of each pixel's region; 0 for none."""


def read_segments(image: Image.Image) -> Segments:
    """Read the regions of an image: by values, indices, or colours, of which black is no region.

    Raises:
        ValueError: If the image is a JPEG, whose values are not those that were written, or has
            numbers that are none of regions.
    """
    if image.format in ("JPEG", "MPO"):
        raise ValueError("is a JPEG, which does not keep the regions' numbers; save it as PNG")
    if image.mode in ("L", "P", "F") or image.mode.startswith("I"):
        numbers = np.asarray(image)
        if (numbers < 0).any() or (numbers % 1 != 0).any():
            raise ValueError(
                "has numbers below 0 or with fractions; regions are 1, 2, …, 0 is none"
            )
        return numbers.astype(np.int32)
    colours = np.asarray(image.convert("RGB")).astype(np.int32)
    segments: Segments = colours @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return segments


def resize_segments(segments: Segments, size: tuple[int, int]) -> Segments:
    """Resize to (height, width) pixels, each taking its nearest neighbour's region."""
    resized = Image.fromarray(segments).resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized)


def superpixels(pixels: npt.NDArray[np.uint8], count: int, compactness: float) -> Segments:
    """Divide a photo into superpixels (SLIC).

    Args:
        pixels: (H, W, 3) RGB.
        count: About how many.
        compactness: What distance counts beside colour; higher, squarer superpixels.
    """
    from skimage.segmentation import slic

    found = slic(pixels, n_segments=count, compactness=compactness, start_label=1)
    return np.asarray(found, np.int32)


def vote(labels: npt.NDArray[np.integer[Any]], segments: Segments, *, threshold: float) -> Labels:
    """Give the pixels of each region the label that most of them have; those of none keep theirs.

    Args:
        labels: (H, W), from 0.
        segments: The regions.
        threshold: Share of a region's pixels that must agree; otherwise they keep their labels.
    """
    numbers, inverse = np.unique(segments, return_inverse=True)
    inverse, kinds = inverse.reshape(labels.shape), int(labels.max()) + 1
    votes = np.bincount((inverse * kinds + labels).ravel(), minlength=len(numbers) * kinds)
    votes = votes.reshape(-1, kinds)
    agree = (votes.max(axis=1) >= threshold * votes.sum(axis=1)) & (numbers > 0)
    return np.where(agree[inverse], votes.argmax(axis=1)[inverse], labels)
