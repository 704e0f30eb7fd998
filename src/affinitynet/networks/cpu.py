"""Everything that only makes a CPU faster; the results are the same to rounding.

`optimize_for_cpu` is the one entry point. AFFINITYNET_OPTIMIZE_FOR_CPU=0 switches it off, and then
networks run as torch and timm have them. docs/decisions/0018-cpu.md has the measurements.
"""

import os
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.nn import functional
from torch.nn.grad import conv2d_weight
from torch.nn.modules.batchnorm import _BatchNorm

from affinitynet.networks.folding import (
    NOTHING,
    activation_of,
    is_plain,
    pairs,
    replace_forwards,
)
from affinitynet.networks.timm_parts import Conv2dSame, get_same_padding, pad_same

Shape = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
"""Stride, padding, dilation and groups of a convolution."""

SWITCH = "AFFINITYNET_OPTIMIZE_FOR_CPU"
"""Environment variable; 0 leaves networks as they are."""

SLOW_DILATION = 4
"""From here on oneDNN has no fast path for a dilated depthwise convolution, not even forwards."""

WIDEST = 3
"""Columns of a kernel up to which oneDNN has a fast path for the gradient of its weights."""

FUSED: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
"""Activations that oneDNN computes with the convolution before them: its name, its arguments."""

FUSION = "_convolution_pointwise"
"""The operator that does so: private to torch, so that it may be missing."""

WITHOUT_BFLOAT16 = ("AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA that have oneDNN's bfloat16 emulated by float32 instructions."""


def optimize_for_cpu(network: nn.Module, fixed: Collection[nn.Module] | None = None) -> None:
    """Make a network on a CPU faster, in place; its parameters keep their names.

    - Batch norms that keep their statistics in training become part of the convolutions before
      them, see `fold_fixed_norms`.
    - In inference, convolutions compute the activations after them, see `fuse_activations`.
    - Convolutions take the form that oneDNN computes fastest, see `convolve`.

    Args:
        network: In evaluation mode. It maps images (N, 3, H, W) to a tensor.
        fixed: Of a network that is trained, the norms that keep their statistics, or parts that
            hold them; None for inference. There the norms are folded already (`fold_norms`).
    """
    if os.environ.get(SWITCH) == "0":
        return
    if fixed is None:
        fuse_activations(network)
    else:
        fold_fixed_norms(network, fixed)
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and is_plain(part) and "forward" not in vars(part):
            part.forward = partial(convolve_itself, part, NOTHING)  # type: ignore[method-assign]


def fold_fixed_norms(network: nn.Module, fixed: Collection[nn.Module]) -> None:
    """Fold the batch norms that keep their statistics in training.

    The weights are multiplied at each step, so that convolutions and norms learn as before.

    Args:
        network: A network in evaluation mode that maps images (N, 3, H, W) to a tensor. It is
            changed in place; its parameters keep their names.
        fixed: The norms, or parts that hold them: they stay in evaluation mode.
    """
    norms = {norm for part in fixed for norm in part.modules() if isinstance(norm, _BatchNorm)}
    found = [(conv, norm) for _, _, conv, norm in pairs(network, _BatchNorm) if norm in norms]
    forwards = {conv: partial(_with_norm, conv, norm) for conv, norm in found}
    replace_forwards(network, forwards, {norm for _, norm in found})


def fuse_activations(network: nn.Module) -> None:
    """Let the convolutions compute the activations after them, on a CPU and without gradients.

    Args:
        network: In evaluation mode, its norms folded. It is changed in place.
    """
    found = [
        (conv, part) for activation in FUSED for _, _, conv, part in pairs(network, activation)
    ]
    forwards = {conv: partial(convolve_itself, conv, part) for conv, part in found}
    replace_forwards(network, forwards, {part for _, part in found})


def _with_norm(conv: nn.Conv2d, norm: _BatchNorm, images: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    return convolve(conv, images, weight, norm.bias - mean * scale, activation_of(norm))


def convolve_itself(conv: nn.Conv2d, activation: nn.Module, images: Tensor) -> Tensor:
    """Compute a convolution and the activation after it, see `convolve`."""
    return convolve(conv, images, conv.weight, conv.bias, activation)


def convolve(
    conv: nn.Conv2d,
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: nn.Module = NOTHING,
) -> Tensor:
    """Compute a convolution with these weights, and the activation after it.

    - Without gradients oneDNN computes both at once: the maps are written once.
    - Depthwise ones have quicker gradients, see `depthwise`.
    - timm's `Conv2dSame` pads the images by one more at the end than before it, and copies them. A
      kernel with a row and a column of zeros before its own takes as much on both sides, which
      oneDNN pads without a copy.

    Args:
        conv: torch's or timm's `Conv2dSame`.
        images: (N, C, H, W).
        weight: Of the shape of `conv.weight`.
        bias: (C',).
        activation: Applied to the result.

    Returns:
        (N, C', h, w).
    """
    learns = _learns(images, weight)
    is_depthwise = images.is_cpu and 1 < conv.groups == conv.in_channels == conv.out_channels
    if is_depthwise and _keeps_size(conv) and (learns or conv.dilation[0] >= SLOW_DILATION):
        return depthwise(images, weight, bias, conv.dilation[0], activation)
    padding: Any = (0, 0) if conv.padding == "valid" else conv.padding
    if isinstance(conv, Conv2dSame):
        if learns or not images.is_cpu or conv.dilation != (1, 1):
            images = pad_same(images, [*conv.kernel_size], [*conv.stride], [*conv.dilation])
        else:
            weight, padding = _centre(conv, images, weight)
    if not learns and images.is_cpu and conv.padding_mode == "zeros" and padding != "same":
        shape = conv.stride, padding, conv.dilation, conv.groups
        return _activated(images, weight, bias, shape, activation)
    # Of those with a stride, oneDNN's gradients in bfloat16 take eight times as long.
    wide = learns and is_depthwise and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if wide else nullcontext():
        maps: Tensor = conv._conv_forward(images.to(weight) if wide else images, weight, bias)
    learnt: Tensor = activation(maps)
    return learnt


def depthwise(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    dilation: int = 1,
    activation: nn.Module = NOTHING,
) -> Tensor:
    """Convolve each channel with its own kernel; zeros around the images keep their size.

    Args:
        images: (N, C, H, W).
        weight: (C, 1, k, k), k odd.
        bias: (C,).
        dilation: d, in both directions. With d > 1 it is a convolution without dilation, on d x d
            images of every d-th pixel.
        activation: Applied to the result.

    Returns:
        (N, C, H, W).
    """
    if not _learns(images, weight):
        maps = _same_size(_split(images, dilation), weight, bias, activation)
        return _join(maps, dilation, images.shape[-2:])
    learnt: Tensor = activation(_Depthwise.apply(images, weight, bias, dilation))  # type: ignore[no-untyped-call]
    return learnt


class _Depthwise(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, dilation: int
    ) -> Tensor:
        ctx.dilation, ctx.size = dilation, images.shape[-2:]
        images = _split(images, dilation)
        ctx.save_for_backward(images, weight)
        return _join(_same_size(images, weight, bias), dilation, ctx.size)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, weight = ctx.saved_tensors
        of_images, of_weight, of_bias, _ = ctx.needs_input_grad
        gradient = _split(gradient, ctx.dilation)
        back = weight.flip(-2, -1)
        return (
            _join(_same_size(gradient, back), ctx.dilation, ctx.size) if of_images else None,
            weight_gradient(images, gradient, weight.shape[-1]) if of_weight else None,
            _sum(gradient) if of_bias else None,
            None,
        )


def _same_size(
    images: Tensor, weight: Tensor, bias: Tensor | None = None, activation: nn.Module = NOTHING
) -> Tensor:
    padding = (weight.shape[-1] // 2,) * 2
    shape = (1, 1), padding, (1, 1), len(weight)
    return _activated(images, weight, bias, shape, activation)


def _activated(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    shape: Shape,
    activation: nn.Module,
) -> Tensor:
    """A convolution without gradients, and the activation after it."""
    stride, padding, dilation, groups = shape
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        images, weight = images.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    fused = FUSED.get(type(activation))
    if fused is None or not _can_fuse(images.dtype):
        maps: Tensor = activation(functional.conv2d(images, weight, bias, *shape))
        return maps
    together = getattr(torch.ops.mkldnn, FUSION)  # torch.compile takes it too
    both: Tensor = together(images, weight, bias, padding, stride, dilation, groups, *fused, "")
    return both


def _can_fuse(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's convolution with an activation, for numbers of a type."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, FUSION):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and supports_bfloat16())


def _centre(conv: Conv2dSame, images: Tensor, weight: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Add zeros to a kernel so that it takes the same padding on both sides; and that padding."""
    sides = zip(images.shape[-2:], conv.kernel_size, conv.stride, conv.dilation, strict=True)
    rows, columns = (get_same_padding(*side) for side in sides)
    larger = functional.pad(weight, (columns % 2, 0, rows % 2, 0))
    return larger, (-(-rows // 2), -(-columns // 2))


def _split(images: Tensor, d: int) -> Tensor:
    """Rearrange images (N, C, H, W) to those of every d-th pixel (N d d, C, H / d, W / d)."""
    if d == 1:
        return images
    n, channels, height, width = images.shape
    if height % d or width % d:
        images = functional.pad(images, (0, -width % d, 0, -height % d))
    rows, columns = images.shape[2] // d, images.shape[3] // d
    pixels = images.permute(0, 2, 3, 1).reshape(n, rows, d, columns, d, channels)
    pixels = pixels.permute(0, 2, 4, 1, 3, 5).reshape(n * d * d, rows, columns, channels)
    return pixels.permute(0, 3, 1, 2)


def _join(images: Tensor, d: int, size: Sequence[int]) -> Tensor:
    """Undo `_split`; H, W are `size`."""
    if d == 1:
        return images
    n, channels, rows, columns = images.shape
    # Not a view of the result: activations work in place, which autograd forbids on those.
    joined = torch.empty(
        (n // d**2, channels, rows * d, columns * d),
        dtype=images.dtype,
        memory_format=torch.channels_last,
    )
    pixels = joined.permute(0, 2, 3, 1).view(-1, rows, d, columns, d, channels)
    pixels[:] = images.unflatten(0, (-1, d, d)).permute(0, 4, 1, 5, 2, 3)
    if joined.shape[-2:] == size:
        return joined
    return joined[..., : size[0], : size[1]].contiguous(memory_format=torch.channels_last)


def weight_gradient(images: Tensor, gradient: Tensor, kernel: int) -> Tensor:
    """Compute the gradient of a depthwise convolution's weights.

    oneDNN is quick for three columns of a kernel at a time. Those of a wider one are three columns
    of images that are shifted; with zeros between the rows, shifted images are the same memory read
    from another place.

    Args:
        images: (N, C, H, W), the convolution's.
        gradient: (N, C, H, W), that of the result; zeros around the images kept the size.
        kernel: k, the side of the kernel; odd.

    Returns:
        (C, 1, k, k), in at least single precision.
    """
    n, channels, height, width = images.shape
    reach = kernel // 2
    if kernel <= WIDEST:
        wide = torch.promote_types(images.dtype, torch.float32)
        shape = [channels, 1, kernel, kernel]
        narrow: Tensor = conv2d_weight(
            images.to(wide), shape, gradient.to(wide), padding=reach, groups=channels
        )
        return narrow
    shape = [n, height, width + reach, channels]
    pixels, gradients = _frame(images, reach), _frame(gradient, reach)
    still = gradients[reach:-reach]
    columns, at = [], -reach
    while at <= reach:
        # The middle one of the three columns; to the left of the image there are zeros at hand.
        shift, first = (at + 1, 0) if at < 0 else (at, 1)
        shifted = pixels[reach + shift :][: len(still)]
        three = conv2d_weight(
            shifted.view(shape).permute(0, 3, 1, 2),
            [channels, 1, kernel, WIDEST],
            still.view(shape).permute(0, 3, 1, 2),
            padding=(reach, 1),
            groups=channels,
        )
        columns.append(three[..., first:])
        at += WIDEST - first
    return torch.cat(columns, dim=-1)[..., :kernel]


def _frame(images: Tensor, zeros: int) -> Tensor:
    """Lay images (N, C, H, W) out by pixels, with zero pixels after each row and around all."""
    n, channels, height, width = images.shape
    wide = torch.promote_types(images.dtype, torch.float32)
    pixels = images.new_empty(n * height * (width + zeros) + 2 * zeros, channels, dtype=wide)
    pixels[:zeros] = pixels[-zeros:] = 0
    rows = pixels[zeros:-zeros].view(n, height, width + zeros, channels)
    rows[:, :, :width] = images.permute(0, 2, 3, 1)
    rows[:, :, width:] = 0
    return pixels


def _sum(maps: Tensor) -> Tensor:
    """Add up maps (N, C, H, W) over all but the channels, as a product: in single precision."""
    pixels = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return pixels.new_ones(len(pixels)) @ pixels


def _learns(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def _keeps_size(conv: nn.Conv2d) -> bool:
    padding: Any = conv.padding
    return (
        type(conv) is nn.Conv2d
        and conv.stride == (1, 1)
        and conv.padding_mode == "zeros"
        and len({*conv.kernel_size}) == len({*conv.dilation}) == 1
        and conv.kernel_size[0] % 2 == 1
        and padding == (conv.dilation[0] * (conv.kernel_size[0] // 2),) * 2
    )


def is_bfloat16_fast() -> tuple[bool, str]:
    """Whether oneDNN computes in bfloat16 on this processor, and why.

    oneDNN itself reports that it does from AVX-512 on. Without AVX512_BF16 or AMX it converts to
    float32 and back, which takes longer than float32.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    instructions = _instructions()
    if not instructions:
        return False, "the processor has neither AMX nor AVX512_BF16"
    name = " and ".join(instructions)
    if not supports_bfloat16() or limit.upper() in WITHOUT_BFLOAT16:
        return False, f"the processor has {name}, but oneDNN " + (
            f"is held to {limit}" if limit else "does not use it"
        )
    return True, f"the processor has {name}"


def supports_bfloat16() -> bool:
    """Whether oneDNN reports that it takes bfloat16; ONEDNN_MAX_CPU_ISA limits it."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
    return torch.backends.mkldnn.is_available() and bool(supported())


def _instructions() -> list[str]:
    """Name the instructions for bfloat16 that this processor has."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if "avx512_bf16" not in capabilities:  # an older torch, or no x86
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        avx512, amx = (getattr(torch.cpu, check, bool)() for check in checks)
    else:
        avx512, amx = capabilities["avx512_bf16"], capabilities.get("amx_bf16", False)
    return [name for name, has in (("AMX", amx), ("AVX512_BF16", avx512)) if has]
