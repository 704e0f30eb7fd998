"""Regions that another program made of the photos: whose they are, and whether they fit."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from affinitynet.data.files import Partitions, is_hidden, why_unreadable
from affinitynet.data.matching import PhotoFinder

if TYPE_CHECKING:
    from PIL import Image


def match_segments(
    files: "Partitions[Image.Image]", photos: Collection[str]
) -> "Partitions[Image.Image]":
    """Find the image of each photo's regions by its name; of several the first."""
    finder = PhotoFinder(photos)
    found: dict[str, Callable[[], Image.Image]] = {}
    for file in sorted(files):
        if not is_hidden(file) and (photo := finder.find(file)):
            found.setdefault(photo, files[file])
    return found


def inspect_segments(read: "Callable[[], Image.Image]", width: int, height: int) -> int | str:
    """Count the regions of a photo of a width and height in pixels, or say what is wrong."""
    import numpy as np

    from affinitynet.core.segments import read_segments

    try:
        segments = read_segments(read())
    except Exception as error:
        return f"the regions cannot be read: {why_unreadable(error)}"
    rows, columns = segments.shape
    if abs(rows * width - columns * height) > max(width, height):  # more than rounding does
        return f"the regions are {columns} x {rows}, the photo {width} x {height}"
    count = int(np.count_nonzero(np.unique(segments)))
    return count or "there are no regions: all values are 0"
