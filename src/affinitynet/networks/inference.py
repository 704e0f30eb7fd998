"""Scores of photos at several scales and flips, in batches of one shape."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.checkpoint import Checkpoint, restore
from affinitynet.networks.cpu import optimize_for_cpu
from affinitynet.networks.cuda import Canvas, Size, optimize_for_cuda, without_determinism
from affinitynet.networks.folding import fold_norms
from affinitynet.networks.precision import Precision, uses_bfloat16

Score = Callable[[Tensor], Tensor]
"""Images (N, 3, h, w) in [0, 1] to scores (N, K, h', w')."""


def scorers(
    checkpoint: Checkpoint,
    score: Callable[[nn.Module, Tensor], Tensor],
    scales: Sequence[tuple[float, int]],
    *,
    device: torch.device | str = "cpu",
) -> list[tuple[float, Score]]:
    """Make the scorer of each scale, for `multi_scale`.

    Args:
        checkpoint: The network's; scales of one output stride share a network.
        score: Maps a network and images (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        scales: Factors on the photos' size, and the network's output stride at each.
        device: Where the networks go.
    """
    networks = {
        stride: prepare_for_inference(restore(checkpoint, output_stride=stride, device=device))
        for _, stride in scales
    }
    return [(scale, partial(score, networks[stride])) for scale, stride in scales]


def class_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Map images (N, 3, h, w) in [0, 1] to probabilities (N, K + 1, h', w'), background first."""
    logits: Tensor = network(images)
    return logits.float().softmax(dim=1)


def prepare_for_inference(network: nn.Module) -> nn.Module:
    """Prepare a restored network to be run often: it computes the same in less time.

    Args:
        network: A network in evaluation mode, on its device.
    """
    folded = fold_norms(network)
    match next(folded.parameters()).device.type:
        case "cpu":
            optimize_for_cpu(folded)
        case "cuda":
            optimize_for_cuda(folded)
    return folded


def canvases(scores_at: Sequence[tuple[float, Score]]) -> list[tuple[float, Canvas]]:
    """Let the networks of `scorers` score photos of several shapes in one batch.

    Args:
        scores_at: From `scorers`.

    Returns:
        The scales, each with its network's canvas, for `multi_scale_on_canvas`; none if one of the
        networks needs photos of one shape.
    """
    by_network: dict[nn.Module, Canvas] = {}
    for _, score in scores_at:
        assert isinstance(score, partial)
        network = score.args[0]
        if network not in by_network:
            by_network[network] = Canvas(network, score)
    with without_determinism():
        if not all(canvas.is_exact() for canvas in by_network.values()):
            return []
    return [(scale, by_network[score.args[0]]) for scale, score in scores_at]  # type: ignore[attr-defined]


@torch.inference_mode()
def multi_scale_on_canvas(
    canvas_at: Sequence[tuple[float, Canvas]],
    images: Tensor,
    sizes: Sequence[Size],
    *,
    flip: bool = True,
    cell: int = 8,
    bfloat16: Precision = False,
) -> Tensor:
    """Do what `multi_scale` does, for photos of several shapes.

    Args:
        canvas_at: Factors on the photos' size, and the canvas of the network that scores them.
        images: RGB photos (N, 3, H, W), uint8, each in the upper left corner.
        sizes: Height and width of each photo.
        flip: As for `multi_scale`.
        cell: As for `multi_scale`.
        bfloat16: As for `multi_scale`.

    Returns:
        Scores (N, K, rows, columns), float32; each photo's in the upper left corner.
    """
    grids = [(-(-height // cell), -(-width // cell)) for height, width in sizes]
    with without_determinism():
        scores = [
            canvas.run(images, sizes, grids=grids, scale=scale, flip=flip, bfloat16=bfloat16)
            for scale, canvas in canvas_at
        ]
    return torch.stack(scores).mean(dim=0)


@torch.inference_mode()
def multi_scale(
    scores_at: Sequence[tuple[float, Score]],
    images: Tensor,
    *,
    flip: bool = True,
    cell: int = 8,
    bfloat16: Precision = False,
) -> Tensor:
    """Average a network's score maps over scales and horizontal flips.

    Args:
        scores_at: Factors on the photos' size, and the scorer at that size: images
            (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        images: RGB photos of one shape (N, 3, H, W), uint8.
        flip: Average with the scores of the mirrored photos too.
        cell: Pixels a cell of the result.
        bfloat16: Compute in bfloat16 where that is safe (autocast); `auto` where it is fast.

    Returns:
        Scores (N, K, ceil(H / cell), ceil(W / cell)), float32.
    """
    height, width = images.shape[-2:]
    grid = (-(-height // cell), -(-width // cell))
    pixels = images.float() / 255
    total: Tensor | None = None
    autocast = uses_bfloat16(bfloat16, images.device)
    for scale, score in scores_at:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        scaled = pixels
        if size != (height, width):
            scaled = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        batch = torch.cat([scaled, scaled.flip(-1)]) if flip else scaled
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
            scores = score(batch)
        scores = functional.interpolate(scores.float(), grid, mode="bilinear")
        if flip:
            plain, mirrored = scores.chunk(2)
            scores = (plain + mirrored.flip(-1)) / 2
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("no scales; give at least one, 1.0 for the photo's own size.")
    return total / len(scores_at)
