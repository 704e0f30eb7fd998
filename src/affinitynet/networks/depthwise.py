"""Depthwise convolutions in the form that a CPU computes fastest, with the same results."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOW_DILATION = 4
"""From here on oneDNN has no fast path for a dilated depthwise convolution, not even forwards."""


def quicken_training(network: nn.Module) -> None:
    """Let the depthwise convolutions compute their gradients in less time.

    Dilated ones that are trained work in phases (see `in_phases`), all that are trained in single
    precision: oneDNN's gradients take up to three times as long in bfloat16. Frozen ones work as
    in inference.

    Args:
        network: Changed in place; its parameters keep their names.
    """
    for conv in _depthwise(network):
        if not conv.weight.requires_grad:
            _quicken(conv, SLOW_DILATION)
        else:
            _quicken(conv, 2)
            conv.forward = partial(_in_single_precision, conv.forward)  # type: ignore[method-assign]


def quicken_inference(network: nn.Module) -> None:
    """Let the widely dilated depthwise convolutions work in phases.

    Args:
        network: Changed in place.
    """
    for conv in _depthwise(network):
        _quicken(conv, SLOW_DILATION)


def _quicken(conv: nn.Conv2d, dilation: int) -> None:
    """Let a convolution work in phases if it is dilated so much."""
    if _keeps_size(conv) and conv.dilation[0] >= dilation:
        conv.forward = partial(in_phases, conv)  # type: ignore[method-assign]


def in_phases(conv: nn.Conv2d, images: Tensor) -> Tensor:
    """Compute a convolution of dilation d as one without, on d x d images of every d-th pixel.

    Args:
        conv: With one odd kernel side, dilation and stride 1 in both directions, padded with zeros
            so that it keeps the size.
        images: (N, C, H, W).

    Returns:
        (N, C', H, W), to rounding what `conv` gives.
    """
    d, kernel = conv.dilation[0], conv.kernel_size[0]
    n, channels, height, width = images.shape
    images = functional.pad(images, (0, -width % d, 0, -height % d))
    rows, columns = images.shape[2] // d, images.shape[3] // d
    phases = images.permute(0, 2, 3, 1).reshape(n, rows, d, columns, d, channels)
    phases = phases.permute(0, 2, 4, 1, 3, 5).reshape(n * d * d, rows, columns, channels)
    maps = functional.conv2d(
        phases.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=kernel // 2, groups=conv.groups
    )
    together = maps.permute(0, 2, 3, 1).reshape(n, d, d, rows, columns, -1)
    together = together.permute(0, 3, 1, 4, 2, 5).reshape(n, rows * d, columns * d, -1)
    return together[:, :height, :width].permute(0, 3, 1, 2)


def _depthwise(network: nn.Module) -> list[nn.Conv2d]:
    return [
        part
        for part in network.modules()
        if isinstance(part, nn.Conv2d) and part.groups > 1 and part.groups == part.in_channels
    ]


def _keeps_size(conv: nn.Conv2d) -> bool:
    padding: Any = conv.padding
    return (
        conv.stride == (1, 1)
        and conv.padding_mode == "zeros"
        and len({*conv.kernel_size}) == len({*conv.dilation}) == 1
        and conv.kernel_size[0] % 2 == 1
        and padding == (conv.dilation[0] * (conv.kernel_size[0] // 2),) * 2
    )


def _in_single_precision(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(images.float())
