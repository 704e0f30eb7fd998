"""Batch norms that keep their statistics, and activations, as part of the convolutions before them.

g (w * x - mean) / std + b is one convolution, with the weights w g / std: two passes fewer over the
maps. What follows a convolution is taken to be what its module lists just after it. Networks of
which this does not hold would compute something else; they are left as they are.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from affinitynet.networks.convolutions import (
    FUSED,
    NOTHING,
    convolve,
    convolve_itself,
    is_plain,
)

Part = TypeVar("Part", bound=nn.Module)


def fold_norms(network: nn.Module) -> nn.Module:
    """Fold all batch norms; a fifth of the time of inference on a CPU.

    Args:
        network: A network in evaluation mode that maps images (N, 3, H, W) to a tensor.

    Returns:
        A network that computes the same, or the network itself.
    """
    folded = deepcopy(network)
    for parent, name, conv, norm in list(_pairs(folded, _BatchNorm)):
        fused = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = fused.weight, fused.bias
        setattr(parent, name, _rest(norm))
    return folded if _agree(_try_out(network), _try_out(folded)) else network


def fold_fixed_norms(network: nn.Module, fixed: Collection[nn.Module]) -> None:
    """Fold the batch norms that keep their statistics in training.

    The weights are multiplied anew at each step, so that whatever is learnt of convolutions and
    norms is learnt as before.

    Args:
        network: A network in evaluation mode that maps images (N, 3, H, W) to a tensor. It is
            changed in place; its parameters keep their names.
        fixed: The norms, or parts that hold them: they stay in evaluation mode.
    """
    norms = {norm for part in fixed for norm in part.modules() if isinstance(norm, _BatchNorm)}
    pairs = [(conv, norm) for _, _, conv, norm in _pairs(network, _BatchNorm) if norm in norms]
    forwards = {conv: partial(_with_norm, conv, norm) for conv, norm in pairs}
    _replace(network, forwards, {norm for _, norm in pairs})


def fuse_activations(network: nn.Module) -> None:
    """Let the convolutions compute the activations after them, on a CPU and without gradients.

    Args:
        network: In evaluation mode, its norms folded. It is changed in place.
    """
    pairs = [
        (conv, part) for activation in FUSED for _, _, conv, part in _pairs(network, activation)
    ]
    forwards = {conv: partial(convolve_itself, conv, part) for conv, part in pairs}
    _replace(network, forwards, {part for _, part in pairs})


def _with_norm(conv: nn.Conv2d, norm: _BatchNorm, images: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    return convolve(conv, images, weight, norm.bias - mean * scale, _rest(norm))


def _pairs(
    network: nn.Module, kind: type[Part]
) -> Iterator[tuple[nn.Module, str, nn.Conv2d, Part]]:
    """Find the parts that follow a convolution: parent and name, convolution, part."""
    before: nn.Module | None = None
    for name, part in network.named_children():
        if not isinstance(part, kind):
            yield from _pairs(part, kind)
        elif isinstance(before, nn.Conv2d) and is_plain(before):
            yield network, name, before, part
        before = part


def _rest(norm: _BatchNorm) -> nn.Module:
    """What a norm does besides: timm's end in the activation."""
    rest: nn.Module = getattr(norm, "act", NOTHING)
    return rest


def _replace(
    network: nn.Module,
    forwards: Mapping[nn.Conv2d, Callable[[Tensor], Tensor]],
    parts: Collection[nn.Module],
) -> None:
    """Let convolutions do what parts did, if the network computes the same then."""
    if not forwards:
        return
    expected = _try_out(network)
    for part in parts:
        part.forward = NOTHING.forward  # type: ignore[method-assign]
    for conv, forward in forwards.items():
        conv.forward = forward  # type: ignore[method-assign, assignment]
    if not _agree(expected, _try_out(network)):
        for part in (*forwards, *parts):
            del part.forward  # the class's own is there again


@torch.inference_mode()
def _try_out(network: nn.Module) -> Tensor:
    weight = next(network.parameters())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(weight)
    maps: Tensor = network(images)
    return maps


def _agree(expected: Tensor, found: Tensor) -> bool:
    tolerance = 1e-2 * float(expected.abs().max())  # TF32 is no better
    # a network that gives NaN is left as it is: whoever runs it finds that
    return tolerance < float("inf") and torch.allclose(found, expected, rtol=0, atol=tolerance)
