"""Photos in batches, as a network is given them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from affinitynet.core.images import to_pixels, working_size
from affinitynet.core.prefetch import prefetch

READERS = 4
"""Threads that read a batch's photos; each holds one of them in its full size."""

Size = tuple[int, int]
"""Height and width."""
Photos = Mapping[str, Callable[[], Image.Image]]
"""Id to a function that reads the photo."""

CanvasFor = Callable[[Size], Size]


def own_shape(size: Size) -> Size:
    """The canvas of photos that share a batch with others of their own shape only."""
    return size


@dataclass(frozen=True)
class Batch:
    """Photos for a network, at their working size.

    Attributes:
        ids: Of the photos.
        sizes: Height and width of each.
        images: (N, 3, H, W) uint8, each photo in the upper left corner. N may be more than there
            are photos: the rest is black.
        inputs: Whatever else the stage needs of each photo.
    """

    ids: Sequence[str]
    sizes: Sequence[Size]
    images: Tensor
    inputs: Sequence[Any]

    def select(self, some: slice) -> "Batch":
        """Return a part of the photos."""
        return Batch(self.ids[some], self.sizes[some], self.images[some], self.inputs[some])


def plan_batches(
    sizes: Mapping[str, Size],
    *,
    long_side: int | None,
    batch_size: int,
    canvas_for: CanvasFor = own_shape,
) -> list[list[str]]:
    """Group photos into batches of one shape, or of similar shapes.

    Args:
        sizes: Photo id to its own height and width.
        long_side: Pixels of the photos' longer side; None leaves them as large as they are.
        batch_size: Photos per batch at most.
        canvas_for: Maps a photo's height and width to those of its canvas: photos of one canvas
            share a batch.
    """
    shapes = {i: working_size(*size, long_side)[::-1] for i, size in sizes.items()}

    def canvas(image_id: str) -> Size:
        return canvas_for(shapes[image_id][::-1])[::-1]

    ordered = sorted(shapes, key=lambda image_id: (canvas(image_id), shapes[image_id]))
    groups = [[*group] for _, group in groupby(ordered, key=canvas)]
    return [
        group[start : start + batch_size]
        for group in groups
        for start in range(0, len(group), batch_size)
    ]


def read_batches(
    plan: Sequence[Sequence[str]],
    photos: Photos,
    inputs: Mapping[str, Any] | None = None,
    *,
    long_side: int | None,
    canvas_for: CanvasFor = own_shape,
    fill_to: int = 1,
) -> Iterator[Batch]:
    """Read the photos of a plan; the next batch is read while this one is used.

    Args:
        plan: Photo ids of each batch.
        photos: Reads the photos.
        inputs: Photo id to its further input, or a function that reads it.
        long_side: Pixels of the photos' longer side; None leaves them as large as they are.
        canvas_for: As for `plan_batches`.
        fill_to: Photos per batch at most. Smaller batches are filled up to a power of two with
            black photos, up to this, so that few shapes of batches remain; 1 fills none.
    """
    with ThreadPoolExecutor(max_workers=READERS) as readers:

        def read(ids: Sequence[str]) -> Batch:
            arrays = [*readers.map(lambda i: to_pixels(photos[i](), long_side), ids)]
            count = max(len(ids), min(fill_to, 1 << (len(ids) - 1).bit_length()))
            images = stack(arrays, canvas_for, count)
            values = [inputs[i] if inputs else None for i in ids]
            read = [value() if callable(value) else value for value in values]
            return Batch(ids, [(each.shape[0], each.shape[1]) for each in arrays], images, read)

        yield from prefetch(map(read, plan), 1)


def stack(
    arrays: Sequence[npt.NDArray[np.uint8]], canvas_for: CanvasFor = own_shape, count: int = 1
) -> Tensor:
    """Lay photos (h, w, 3) of one canvas into the upper left corners of a batch (N, 3, H, W)."""
    height, width, _ = arrays[0].shape
    images = np.zeros((max(count, len(arrays)), *canvas_for((height, width)), 3), np.uint8)
    for canvas, array in zip(images, arrays, strict=False):
        canvas[: array.shape[0], : array.shape[1]] = array
    return torch.from_numpy(images).permute(0, 3, 1, 2)
