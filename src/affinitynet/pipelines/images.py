"""Photos of the index in batches of one shape, and maps between photo and grid."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from affinitynet.core.label_maps import LabelMap
from affinitynet.data.files import Readers as Readers
from affinitynet.data.files import why_unreadable
from affinitynet.errors import UserError
from affinitynet.execution import Execution, ahead, item_handlers, map_images, pick_device, track
from affinitynet.networks.parameters import (
    BatchParameters,
    FeatureParameters,
    InferenceParameters,
)
from affinitynet.pipelines.finite import check_outputs

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from affinitynet.networks.cuda import Canvas, Size

T = TypeVar("T")
SHARE = 64
"""Photos that a worker with a device is given at a time: its network is built for them anew."""
READERS = 4
"""Threads that read a batch's photos; each holds one of them in its full size."""
STRIP = 2**23
"""Scores that are upsampled at a time, 32 MiB: a photo of more is done in horizontal strips."""


def tagged_photos(index: pd.DataFrame) -> pd.DataFrame:
    """Select the training photos that show any class: those that have CAMs and pseudo labels."""
    return index[(index["split"] == "train") & (index["tags"] != "")]


def read_photo(read: Callable[[], "Image.Image"], long_side: int | None) -> npt.NDArray[np.uint8]:
    """Read a photo upright, in RGB, at the working size.

    Args:
        read: Reads the photo, a PIL image of any mode.
        long_side: Pixels of its longer side; None for the photo's own size.

    Returns:
        (H, W, 3) uint8.
    """
    from affinitynet.core.images import resize_long_side, to_rgb

    photo = to_rgb(read())
    return np.asarray(resize_long_side(photo, long_side))


def batches(
    index: pd.DataFrame, photos: Readers, *, long_side: int | None, batch_size: int
) -> Iterator[tuple[list[str], "torch.Tensor"]]:
    """Read the photos of an index in batches of one shape, the next one while this one is used.

    Args:
        index: One row an image, with `width` and `height`.
        photos: Image id to a function that reads the photo.
        long_side: Pixels of the photos' longer side; None leaves them as large as they are.
        batch_size: Photos a batch at most.

    Yields:
        Image ids, and their photos (N, 3, H, W), uint8.
    """
    import torch

    groups = _group_by_shape(index, long_side, batch_size)
    with ThreadPoolExecutor(max_workers=READERS) as readers:

        def read(ids: list[str]) -> "tuple[list[str], torch.Tensor]":
            arrays = readers.map(lambda image_id: read_photo(photos[image_id], long_side), ids)
            return ids, torch.from_numpy(np.stack([*arrays])).permute(0, 3, 1, 2)

        yield from ahead(map(read, groups), 1)


def canvas_batches(
    index: pd.DataFrame,
    photos: Readers,
    *,
    long_side: int | None,
    batch_size: int,
    canvas_for: "Callable[[Size], Size]",
) -> Iterator[tuple[list[str], list[tuple[int, int]], "torch.Tensor"]]:
    """Read the photos of an index in batches of those that share a canvas.

    Few shapes of batches remain: the number of photos is rounded up to a power of two as well.

    Args:
        index: One row an image, with `width` and `height`.
        photos: Image id to a function that reads the photo.
        long_side: Pixels of the photos' longer side; None leaves them as large as they are.
        batch_size: Photos a batch at most.
        canvas_for: Maps a photo's height and width to those of its canvas.

    Yields:
        Image ids, height and width of each photo, and the photos (N, 3, H, W), uint8, each in the
        upper left corner. N may be more than the ids: what is left is black, and has a size too.
    """
    import torch

    groups = _group_by_canvas(index, long_side, batch_size, canvas_for)
    with ThreadPoolExecutor(max_workers=READERS) as readers:

        def read(
            ids: list[str],
        ) -> "tuple[list[str], list[tuple[int, int]], torch.Tensor]":
            arrays = [*readers.map(lambda image_id: read_photo(photos[image_id], long_side), ids)]
            count = min(batch_size, 1 << (len(ids) - 1).bit_length())
            sizes = [(array.shape[0], array.shape[1]) for array in arrays]
            sheet = np.zeros((count, *canvas_for(sizes[0]), 3), np.uint8)
            for canvas, array in zip(sheet, arrays, strict=False):
                canvas[: array.shape[0], : array.shape[1]] = array
            sizes += sizes[-1:] * (count - len(ids))
            return ids, sizes, torch.from_numpy(sheet).permute(0, 3, 1, 2)

        yield from ahead(map(read, groups), 1)


def inspect_photo(read: Callable[[], "Image.Image"]) -> tuple[int, int, str]:
    """Read a photo in full.

    Returns:
        Its width and height in pixels, upright, and why it cannot be read: empty where it can.
    """
    from affinitynet.core.images import to_rgb

    try:
        width, height = to_rgb(read()).size
    except Exception as error:
        return 0, 0, why_unreadable(error)
    return width, height, ""


def _group_by_shape(index: pd.DataFrame, long_side: int | None, batch_size: int) -> list[list[str]]:
    return _in_batches(_shapes(index, long_side), batch_size)


def _group_by_canvas(
    index: pd.DataFrame,
    long_side: int | None,
    batch_size: int,
    canvas_for: "Callable[[Size], Size]",
) -> list[list[str]]:
    shapes = _shapes(index, long_side).sort_values(["width", "height"], kind="stable")
    return _in_batches(_canvases(shapes, canvas_for), batch_size)


def _canvases(shapes: pd.DataFrame, canvas_for: "Callable[[Size], Size]") -> pd.DataFrame:
    sides = [
        canvas_for((int(height), int(width)))
        for height, width in zip(shapes["height"], shapes["width"], strict=True)
    ]
    return pd.DataFrame(sides, columns=["height", "width"], index=shapes.index)


def _shapes(index: pd.DataFrame, long_side: int | None) -> pd.DataFrame:
    longest = index[["width", "height"]].max(axis="columns")
    factor = (long_side or longest) / longest
    return index[["width", "height"]].mul(factor, axis="index").round()


def _in_batches(shapes: pd.DataFrame, batch_size: int) -> list[list[str]]:
    return [
        list(rows.index[start : start + batch_size])
        for _, rows in shapes.groupby(["width", "height"], sort=True)
        for start in range(0, len(rows), batch_size)
    ]


def share_out(
    work: Callable[..., Iterator[tuple[str, T]]],
    index: pd.DataFrame,
    *readers: Readers,
    options: BatchParameters,
    execution: Execution,
    description: str,
    outputs: bool = False,
) -> Iterator[tuple[str, T]]:
    """Do photos where the devices are: in this process, or on the workers of a cluster.

    Args:
        work: Yields image id and result of each photo; called as `work(index, *readers)` with a
            part of the photos. Picklable, as are the results.
        index: The images to do, with `width` and `height`.
        *readers: What is read of them, by image id.
        options: Size and number of the photos. Batches are the same however they are shared out.
        execution: Engine and devices.
        description: For the progress bar.
        outputs: Whether the results are what a node yields: see `affinitynet.execution.map_images`.

    Yields:
        Image id and result; photos over which workers keep dying are skipped.
    """
    if index.empty:
        return
    if outputs:
        work = partial(_work_and_save, item_handlers().save_item, work)
    if execution.in_process:
        yield from track(work(index, *readers), description, total=len(index))
        return
    size = options.batch_size
    groups = _group_by_shape(index, options.long_side, size)
    some = max(1, SHARE // size)
    shares = [
        [i for group in groups[start : start + some] for i in group]
        for start in range(0, len(groups), some)
    ]

    def item(ids: list[str]) -> tuple[Any, ...]:
        return ids[0], index.loc[ids], *({i: read[i] for i in ids} for read in readers)

    done = map_images(
        partial(_do_share, work),
        map(item, shares),
        total=len(shares),
        execution=execution,
        networks=True,
        skip=True,
        parts=lambda _, rows, *__: [item([i]) for i in rows.index],
        size=lambda item: len(item[1]),
    )
    yield from track((pair for _, pairs in done for pair in pairs), description, total=len(index))


def _work_and_save(
    save: Callable[[str, T], T], work: Callable[..., Iterator[tuple[str, T]]], *arguments: Any
) -> Iterator[tuple[str, T]]:
    for image_id, result in work(*arguments):
        yield image_id, save(image_id, result)


def _do_share(work: Callable[..., Iterator[T]], *arguments: Any) -> list[T]:
    return list(work(*arguments))


def score_photos(
    index: pd.DataFrame,
    photos: Readers,
    *,
    model: dict[str, Any],
    score: "Callable[[Any, torch.Tensor], torch.Tensor]",
    inference: InferenceParameters,
    execution: Execution,
) -> "Iterator[tuple[str, torch.Tensor]]":
    """Score photos with a trained network, averaged over scales and flips.

    Args:
        index: The images to do, with `width` and `height`.
        photos: Image id to a function that reads the photo.
        model: The network's checkpoint.
        score: Maps the network and images (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        inference: Scales, flips, batches.
        execution: Device.

    Yields:
        Image id and its scores (K, ceil(H / cell), ceil(W / cell)), float32, on the device.
    """
    from affinitynet.networks.checkpoint import Checkpoint
    from affinitynet.networks.cuda import without_determinism
    from affinitynet.networks.inference import canvases, multi_scale, scorers

    device = pick_device(execution)
    scores_at = scorers(Checkpoint(**model), score, inference.scales, device=device)
    if _shares_canvases(device) and (canvas_at := canvases(scores_at)):
        yield from _score_on_canvas(index, photos, canvas_at, model, inference, device)
        return
    for ids, images in batches(
        index, photos, long_side=inference.long_side, batch_size=inference.batch_size
    ):
        with without_determinism():
            scores = multi_scale(
                scores_at,
                images.to(device),
                flip=inference.flip,
                cell=inference.cell,
                bfloat16=inference.bfloat16,
            )
        check_outputs(ids, scores, model)
        yield from zip(ids, scores, strict=True)


def _shares_canvases(device: "torch.device") -> bool:
    """Whether photos of several shapes share a batch: a CPU gains nothing by it."""
    return device.type == "cuda"


def _score_on_canvas(
    index: pd.DataFrame,
    photos: Readers,
    canvas_at: "list[tuple[float, Canvas]]",
    model: dict[str, Any],
    inference: InferenceParameters,
    device: "torch.device",
) -> "Iterator[tuple[str, torch.Tensor]]":
    from affinitynet.networks.cuda import canvas_for, fetch
    from affinitynet.networks.inference import multi_scale_on_canvas

    cell, long_side = inference.cell, inference.long_side
    score = partial(
        multi_scale_on_canvas,
        canvas_at,
        flip=inference.flip,
        cell=cell,
        bfloat16=inference.bfloat16,
    )
    batch_size = _fitting(score, index, long_side, inference.batch_size, device)
    read = canvas_batches(
        index, photos, long_side=long_side, batch_size=batch_size, canvas_for=canvas_for
    )
    scored = (
        ((ids, sizes), score(images.to(device, non_blocking=True), sizes))
        for ids, sizes, images in read
    )
    with memory_errors("inference.batch_size"):
        for (ids, sizes), scores in fetch(scored):
            check_outputs(ids, scores[: len(ids)], model)
            for image_id, (height, width), own in zip(ids, sizes, scores, strict=False):
                yield image_id, own[:, : -(-height // cell), : -(-width // cell)]


def _fitting(
    score: "Callable[[torch.Tensor, list[tuple[int, int]]], object]",
    index: pd.DataFrame,
    long_side: int | None,
    batch_size: int,
    device: "torch.device",
) -> int:
    """Find how many photos the device holds: of the largest canvas, `batch_size` at most."""
    import torch

    from affinitynet.networks.cuda import canvas_for, largest_batch

    if device.type != "cuda":
        return batch_size
    canvases = _canvases(_shapes(index, long_side), canvas_for)
    height, width = max(canvases.itertuples(index=False), key=prod)

    def run(count: int) -> None:
        images = torch.zeros(count, 3, height, width, dtype=torch.uint8, device=device)
        score(images, [(height, width)] * count)

    with memory_errors("inference.long_side"):
        return largest_batch(run, device, at_most=batch_size)


@contextmanager
def memory_errors(parameter: str) -> Iterator[None]:
    """Tell which parameter to lower where a GPU's memory runs out.

    Raises:
        UserError: Instead of torch's error.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The GPU's memory is too small for a batch; lower {parameter} of this stage "
            f"({str(error).splitlines()[0]})"
        ) from error


def network_outputs(
    index: pd.DataFrame,
    photos: Readers,
    *,
    model: dict[str, Any],
    inference: FeatureParameters,
    execution: Execution,
) -> "Iterator[tuple[list[str], torch.Tensor]]":
    """Run a trained network on photos as they are, at one scale: AffinityNet's features, logits.

    Args:
        index: The images to do, with `width` and `height`.
        photos: Image id to a function that reads the photo.
        model: The network's checkpoint.
        inference: Stride, size, batches.
        execution: Device.

    Yields:
        Image ids of a batch of photos of one shape, and the network's outputs (N, …), float32, on
        the device.
    """
    import torch

    from affinitynet.networks.checkpoint import Checkpoint, restore
    from affinitynet.networks.cuda import Canvas
    from affinitynet.networks.inference import for_inference
    from affinitynet.networks.precision import uses_bfloat16

    device = pick_device(execution)
    bfloat16 = uses_bfloat16(inference.bfloat16, device)
    stride = inference.output_stride
    network = for_inference(restore(Checkpoint(**model), output_stride=stride, device=device))
    if _shares_canvases(device):
        canvas = Canvas(network, network)
        yield from _outputs_on_cuda(index, photos, canvas, model, inference, device)
        return

    def run(images: torch.Tensor) -> torch.Tensor:
        pixels = images.to(device).float() / 255
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=bfloat16),
        ):
            outputs: torch.Tensor = network(pixels.contiguous(memory_format=torch.channels_last))
            return outputs.float()

    for ids, images in batches(
        index, photos, long_side=inference.long_side, batch_size=inference.batch_size
    ):
        outputs = run(images)
        check_outputs(ids, outputs, model)
        yield ids, outputs


def _outputs_on_cuda(
    index: pd.DataFrame,
    photos: Readers,
    canvas: "Canvas",
    model: dict[str, Any],
    inference: FeatureParameters,
    device: "torch.device",
) -> "Iterator[tuple[list[str], torch.Tensor]]":
    from affinitynet.networks.cuda import canvas_for, without_determinism

    with without_determinism():
        is_shared = canvas.is_exact()
    read = canvas_batches(
        index,
        photos,
        long_side=inference.long_side,
        batch_size=inference.batch_size,
        canvas_for=canvas_for if is_shared else lambda size: size,
    )
    for ids, sizes, images in read:
        with memory_errors("batch_size"), without_determinism():
            run = canvas.run if is_shared else canvas.run_plain
            outputs = run(images.to(device), sizes, bfloat16=inference.bfloat16)
        check_outputs(ids, outputs[: len(ids)], model)
        for size, group in groupby(range(len(ids)), key=sizes.__getitem__):
            some = [*group]
            own = outputs[some[0] : some[-1] + 1]
            if is_shared:
                rows, columns = canvas.grid(size)
                own = own[..., :rows, :columns]
            yield [ids[i] for i in some], own


def upsample(maps: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize score maps bilinearly.

    Args:
        maps: (K, h, w) scores, any float type.
        size: Height and width in pixels.

    Returns:
        (K, height, width) float32.
    """
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(np.asarray(maps, np.float32))[None]
    resized: npt.NDArray[np.float32] = functional.interpolate(tensor, size, mode="bilinear")[
        0
    ].numpy()
    return resized


def upsampled_argmax(
    scores: "torch.Tensor", size: tuple[int, int]
) -> tuple[LabelMap, npt.NDArray[np.uint8]]:
    """Upsample probabilities bilinearly and take the best of each pixel, in flat memory.

    Photos of more than `STRIP` scores are done in horizontal strips, with the same result up to
    the last bit of a float.

    Args:
        scores: (K, h, w) float32 probabilities, on any device.
        size: Height and width in pixels.

    Returns:
        Labels (height, width), the first of equals, and their probability (height, width) in
        255ths, rounded.
    """
    labels, confidence = np.empty(size, np.uint8), np.empty(size, np.uint8)
    for rows, label, best in upsampled_strips(scores, size):
        labels[rows], confidence[rows] = label, to_255ths(best)
    return labels, confidence


def upsampled_strips(
    scores: "torch.Tensor", size: tuple[int, int]
) -> Iterator[tuple[slice, npt.NDArray[np.uint8], npt.NDArray[np.float32]]]:
    """Upsample probabilities bilinearly and take the best of each pixel, strip by strip.

    Args:
        scores: (K, h, w) float32 probabilities, on any device.
        size: Height and width in pixels.

    Yields:
        Rows, their labels (rows, width), and the probability of these (rows, width).
    """
    height, width = size
    rows = max(1, STRIP // (len(scores) * width))
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        best, label = _upsample_rows(scores, size, strip).max(dim=0)
        yield strip, label.byte().cpu().numpy(), best.cpu().numpy()


def to_255ths(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Round probabilities to 0 … 255."""
    return np.asarray(np.rint(probabilities * 255), np.uint8)


def _upsample_rows(scores: "torch.Tensor", size: tuple[int, int], rows: slice) -> "torch.Tensor":
    """The rows `rows` of scores (K, h, w) that are upsampled bilinearly to `size`."""
    import torch
    from torch.nn import functional

    height, width = size
    if rows.stop - rows.start == height:
        return functional.interpolate(scores[None], size, mode="bilinear")[0]
    cells = scores.shape[1]
    centres = torch.arange(rows.start, rows.stop, device=scores.device) + 0.5
    position = (centres * (cells / height) - 0.5).clamp(min=0)
    above = position.long()
    below = (above + 1).clamp(max=cells - 1)
    weight = (position - above)[:, None]
    first, last = int(above[0]), int(below[-1])
    near = scores[None, :, first : last + 1]
    wide = functional.interpolate(near, (near.shape[2], width), mode="bilinear")[0]
    upper = wide[:, above - first].mul_(1 - weight)
    return upper.add_(wide[:, below - first].mul_(weight))


def resize_labels(labels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize a label map to (height, width) pixels, each taking its nearest neighbour's label."""
    from PIL import Image

    if labels.shape == size:
        return labels
    resized = Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized)
