"""Scores of photos at several scales and flips, in batches of one shape."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from affinitynet.networks.checkpoint import Checkpoint, restore
from affinitynet.networks.depthwise import quicken_inference

Score = Callable[[Tensor], Tensor]
"""Images (N, 3, h, w) in [0, 1] to scores (N, K, h', w')."""


def scorers(
    checkpoint: Checkpoint,
    score: Callable[[nn.Module, Tensor], Tensor],
    scales: Sequence[tuple[float, int]],
    *,
    device: torch.device | str = "cpu",
) -> list[tuple[float, Score]]:
    """Make what scores photos at each scale, for `multi_scale`.

    Args:
        checkpoint: The network's; scales of one output stride share a network.
        score: Maps a network and images (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        scales: Factors on the photos' size, and the network's output stride at each.
        device: Where the networks go.
    """
    networks = {
        stride: for_inference(restore(checkpoint, output_stride=stride, device=device))
        for _, stride in scales
    }
    return [(scale, partial(score, networks[stride])) for scale, stride in scales]


def class_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Map images (N, 3, h, w) in [0, 1] to probabilities (N, K + 1, h', w'), background first."""
    logits: Tensor = network(images)
    return logits.float().softmax(dim=1)


def for_inference(network: nn.Module) -> nn.Module:
    """Prepare a restored network to be run often: it computes the same in less time.

    Args:
        network: A network in evaluation mode, on its device.
    """
    folded = fold_norms(network)
    if next(folded.parameters()).device.type == "cpu":
        quicken_inference(folded)
    return folded


def fold_norms(network: nn.Module, *, frozen: bool = False) -> nn.Module:
    """Fold the batch norms into the convolutions before them; a fifth of the time on a CPU.

    A norm is taken to belong to the convolution that its module lists just before it. Networks of
    which this does not hold compute something else then; they are left as they are.

    Args:
        network: A network in evaluation mode that maps images (N, 3, H, W) to a tensor.
        frozen: Fold only norms and convolutions of which nothing is learnt, to train the rest.

    Returns:
        A network that computes the same, or the network itself. With `frozen` it shares what is
        learnt with the network: training one trains the other.
    """
    kept = [*network.buffers(), *(each for each in network.parameters() if each.requires_grad)]
    folded = deepcopy(network, {id(each): each for each in kept} if frozen else None)
    _fold(folded, frozen)
    weight = next(network.parameters())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(weight)
    with torch.inference_mode():
        expected, found = network(images), folded(images)
    tolerance = 1e-2 * float(expected.abs().max())  # TF32 is no better
    return folded if torch.allclose(found, expected, rtol=0, atol=tolerance) else network


def _fold(network: nn.Module, frozen: bool) -> None:
    before: nn.Module | None = None
    for name, part in list(network.named_children()):
        if (
            isinstance(part, _BatchNorm)
            and isinstance(before, nn.Conv2d)
            and not (frozen and _learns(before, part))
        ):
            fused = fuse_conv_bn_eval(before, part)
            before.weight, before.bias = fused.weight, fused.bias
            # timm's norms end in the activation.
            setattr(network, name, getattr(part, "act", nn.Identity()))
        else:
            _fold(part, frozen)
        before = part


def _learns(*parts: nn.Module) -> bool:
    return any(weight.requires_grad for part in parts for weight in part.parameters())


@torch.inference_mode()
def multi_scale(
    scores_at: Sequence[tuple[float, Score]],
    images: Tensor,
    *,
    flip: bool = True,
    cell: int = 8,
    bfloat16: bool = False,
) -> Tensor:
    """Average a network's score maps over scales and horizontal flips.

    Args:
        scores_at: Factors on the photos' size, and what scores the photos at that size: images
            (N, 3, h, w) in [0, 1] to scores (N, K, h', w').
        images: RGB photos of one shape (N, 3, H, W), uint8.
        flip: Average with the scores of the mirrored photos too.
        cell: Pixels a cell of the result.
        bfloat16: Compute in bfloat16 where that is safe (autocast).

    Returns:
        Scores (N, K, ceil(H / cell), ceil(W / cell)), float32.
    """
    height, width = images.shape[-2:]
    grid = (-(-height // cell), -(-width // cell))
    pixels = images.float() / 255
    total: Tensor | None = None
    for scale, score in scores_at:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        scaled = pixels
        if size != (height, width):
            scaled = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        batch = torch.cat([scaled, scaled.flip(-1)]) if flip else scaled
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
            scores = score(batch)
        scores = functional.interpolate(scores.float(), grid, mode="bilinear")
        if flip:
            plain, mirrored = scores.chunk(2)
            scores = (plain + mirrored.flip(-1)) / 2
        total = scores if total is None else total + scores
    if total is None:
        raise ValueError("no scales; give at least one, 1.0 for the photo's own size.")
    return total / len(scores_at)
