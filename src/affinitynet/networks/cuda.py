"""Everything that only makes a CUDA device faster; the results are the same to rounding.

A CUDA device waits for two things where photos have many shapes. cuDNN plans each convolution once
for each shape, which takes it some ten milliseconds. And a small batch leaves the device idle while
the host starts its kernels. So photos of several shapes share a batch on a `Canvas`, and the
convolutions of separable networks take kernels that need no plan (`optimize_for_cuda`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.errors import UserError
from affinitynet.networks.folding import is_plain
from affinitynet.networks.precision import Precision, uses_bfloat16
from affinitynet.networks.timm_parts import Conv2dSame

T = TypeVar("T")
Size = tuple[int, int]
"""Height and width."""

SHARE_OF_MEMORY = 0.8
"""Share of a device's free memory for a batch; the rest is lost to fragmentation."""

TRIAL = (75, 91)
"""Odd at every level: a photo for which a misplaced cell shows."""


def canvas_for(size: Size) -> Size:
    """Choose the canvas that a photo shares: few of them for many shapes.

    Args:
        size: The photo's height and width.

    Returns:
        Both rounded up to multiples of about a quarter of the longer one, a power of two.
    """
    grain = max(32, 1 << ((max(size) - 1).bit_length() - 2))
    return -(-size[0] // grain) * grain, -(-size[1] // grain) * grain


@contextmanager
def without_determinism() -> Iterator[None]:
    """Let torch take its own kernels where nothing is learned.

    Deterministic algorithms replace a bilinear resize by 37 operators, because of its gradient.
    cuDNN's own switch, `torch.backends.cudnn.deterministic`, is left as it is.
    """
    if not torch.are_deterministic_algorithms_enabled():
        yield  # setting it, even to the same value, would import torch's compiler
        return
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)


def optimize_for_cuda(network: nn.Module) -> None:
    """Let a network's pointwise and depthwise convolutions run without plans of cuDNN's.

    Args:
        network: In evaluation mode, on its device. It is changed in place; its parameters keep
            their names.
    """
    for part in network.modules():
        if not isinstance(part, nn.Conv2d) or not is_plain(part) or "forward" in vars(part):
            continue
        if _is_pointwise(part):
            part.forward = _Pointwise(part)  # type: ignore[method-assign, assignment]
        elif 1 < part.groups == part.in_channels:
            part.forward = partial(_without_cudnn, part.forward)  # type: ignore[method-assign]


def _is_pointwise(conv: nn.Conv2d) -> bool:
    is_unpadded = isinstance(conv, Conv2dSame) or conv.padding in ((0, 0), "valid", "same")
    return conv.kernel_size == (1, 1) and conv.groups == 1 and is_unpadded


class _Pointwise:
    """A 1 x 1 convolution as a matrix product over pixels; its weights are cast once."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.cast: dict[torch.dtype, tuple[Tensor, Tensor | None]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        device = images.device.type
        is_mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if is_mixed else images.dtype
        if dtype not in self.cast:
            bias = self.conv.bias
            weight = self.conv.weight.detach()[:, :, 0, 0].to(dtype)
            self.cast[dtype] = weight, None if bias is None else bias.detach().to(dtype)
        rows, columns = self.conv.stride
        pixels = images[..., ::rows, ::columns].permute(0, 2, 3, 1).to(dtype)
        return functional.linear(pixels, *self.cast[dtype]).permute(0, 3, 1, 2)


def _without_cudnn(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Take torch's own kernel, which wants each channel in one piece."""
    with torch.backends.cudnn.flags(enabled=False):
        maps = forward(images.contiguous())
    return maps.contiguous(memory_format=torch.channels_last)


class Canvas:
    """Lets photos of several shapes share a batch, each computed as in a batch of its own.

    A photo lies on a canvas of zeros. Before everything that sees more than one cell, whatever has
    appeared beyond the photo is set to zero again: it finds what it finds at the border of a photo.
    TensorFlow's padding (timm's `Conv2dSame`) depends on whether a side is odd. There a photo
    begins at the pixel from which each halving of the canvas meets the same pixels as a halving of
    the photo would.

    Args:
        network: In evaluation mode, with a `backbone` that has an `output_stride`. It is given
            hooks that do nothing but in `run`.
        score: Images (N, 3, h, w) to that network's maps (N, K, h', w') at the output stride.
    """

    def __init__(self, network: nn.Module, score: Callable[[Tensor], Tensor]) -> None:
        self.score = score
        backbone: Any = network.backbone
        self.backbone: Callable[[Tensor], list[Tensor]] = backbone
        self.stride: int = backbone.output_stride
        self._levels = self.stride.bit_length()
        self._device = next(network.parameters()).device
        self._is_aligned = False
        self._beyond: dict[Size, Tensor] = {}
        for part in network.modules():
            sides = getattr(part, "kernel_size", 1)
            if max(sides if isinstance(sides, tuple) else (sides,)) > 1:
                part.register_forward_pre_hook(self._clear)
                if isinstance(part, Conv2dSame) and part.stride != (1, 1):
                    self._is_aligned = True

    def _clear(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not self._beyond:
            return None
        images, *rest = inputs
        return images.masked_fill(self._beyond[images.shape[-2], images.shape[-1]], 0), *rest

    def is_exact(self) -> bool:
        """Whether the network is one of those that a canvas suits, tried out on a photo.

        Others look at the whole photo at once (squeeze and excitation, pooled scores), or resize
        maps inside: each of their photos needs a batch of its own shape.
        """
        height, width = TRIAL
        generator = torch.Generator().manual_seed(0)
        photo = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
        canvas = functional.pad(photo, (0, 128 - width, 0, 128 - height))
        pixels = (photo.to(self._device) / 255).contiguous(memory_format=torch.channels_last)
        for score in (self._deepest, self.score):  # scores may hide a difference behind a ReLU
            try:
                with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
                    expected = score(pixels).float()
                    found = self.run(canvas.to(self._device), [TRIAL], score=score)
            except (IndexError, KeyError, RuntimeError):  # no maps, or of sides no halving gives
                return False
            tolerance = 1e-4 * float(expected.abs().max())
            if expected.shape != found.shape or not torch.allclose(
                expected, found, rtol=0, atol=tolerance
            ):
                return False
        return True

    def _deepest(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1]

    @torch.inference_mode()
    def run(
        self,
        images: Tensor,
        sizes: Sequence[Size],
        *,
        grids: Sequence[Size] | None = None,
        scale: float = 1.0,
        flip: bool = False,
        bfloat16: Precision = False,
        score: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Score photos at one scale.

        Args:
            images: (N, 3, H, W) uint8; each photo in the upper left corner.
            sizes: Of each photo, in pixels.
            grids: Size that each photo's scores get; None leaves them as they are.
            scale: Factor on the photos' size.
            flip: Average with the scores of the mirrored photos.
            bfloat16: Compute in bfloat16 where that is safe (autocast); `auto` where it is fast.
            score: Instead of the canvas's own.

        Returns:
            Scores (N, K, rows, columns), float32, on the largest of the grids; each photo's in the
            upper left corner.
        """
        half = uses_bfloat16(bfloat16, images.device)
        flips = (False, True) if flip else (False,)
        into, back, inside = [], [], []
        for axis, side in enumerate(images.shape[-2:]):
            lengths = [size[axis] for size in sizes]
            scaled = [max(1, round(length * scale)) for length in lengths]
            starts = [self._start(length) for length in scaled]
            cells = [-(-length // self.stride) for length in scaled]
            grid = cells if grids is None else [each[axis] for each in grids]
            lines = torch.tensor([lengths, scaled, starts, cells, grid], dtype=torch.float64)
            length, large, start, count, rows = lines.to(images.device, non_blocking=True)
            stretch, first = (start, large), start // self.stride
            canvas = -(-side * scale // self.stride)  # in cells: the same for every batch of it
            zero = torch.zeros_like(start)
            mirrored = flips if axis else (False,) * len(flips)
            sides = (side, int(canvas) * self.stride)
            into.append(_resizing((zero, length), stretch, sides, mirrored, smooth=True))
            back.append(_resizing((first, count), (zero, rows), (int(canvas), max(grid)), mirrored))
            inside.append(self._inside(start, large, sides[1]))
        pixels = (images.float() / 255).repeat(len(flips), 1, 1, 1)
        pixels = into[0][:, None] @ pixels @ into[1][:, None].mT
        for rows, columns in zip(*inside, strict=True):
            beyond = ~(rows[:, None, :, None] & columns[:, None, None, :])
            size = beyond.shape[-2], beyond.shape[-1]
            self._beyond[size] = beyond.repeat(len(flips), 1, 1, 1)
        try:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
                scores = (score or self.score)(pixels.contiguous(memory_format=torch.channels_last))
        finally:
            self._beyond = {}
        scores = back[0][:, None] @ scores.float() @ back[1][:, None].mT
        return torch.stack(scores.chunk(len(flips))).mean(dim=0)

    def grid(self, size: Size) -> Size:
        """Cells of a photo's maps."""
        return -(-size[0] // self.stride), -(-size[1] // self.stride)

    def _start(self, length: int) -> int:
        """First pixel of a photo on the canvas, along one side."""
        if not self._is_aligned:
            return 0
        return sum(((-(-length >> level)) & 1) << level for level in range(self._levels - 1))

    def _inside(self, start: Tensor, length: Tensor, side: int) -> list[Tensor]:
        """Where the photos lie at each level (N, side / 2^level)."""
        masks = []
        start, length = start.long()[:, None], length.long()[:, None]
        for level in range(self._levels):
            at = torch.arange(side >> level, device=start.device)
            first = start >> level
            masks.append((at >= first) & (at < first - (-length >> level)))
        return masks


def _resizing(
    source: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
    sides: tuple[int, int],
    flips: Sequence[bool],
    *,
    smooth: bool = False,
) -> Tensor:
    """Bilinear resizing of a stretch of one line to a stretch of another, as matrices.

    Args:
        source: First cell and length of each photo's stretch (N,).
        target: First cell and length of the stretch that it becomes.
        sides: Length of both lines.
        flips: Whether it is mirrored; each adds the matrices of all photos once.
        smooth: With torch's antialiasing where it shrinks.

    Returns:
        (N len(flips), target's line, source's line), float32; zeros beyond both stretches.
    """
    (first, length), (start, count) = (
        [line[:, None, None] for line in stretch] for stretch in (source, target)
    )
    at = torch.arange(sides[1], device=first.device, dtype=torch.float64)[:, None] - start
    cell = torch.arange(sides[0], device=first.device, dtype=torch.float64) - first
    factor = length / count
    reach = factor.clamp(min=1) if smooth else torch.ones_like(factor)
    is_inside = (at >= 0) & (at < count) & (cell >= 0) & (cell < length)
    matrices = []
    for flip in flips:
        centre = ((count - 1 - at if flip else at) + 0.5) * factor
        weights = (1 - (cell + 0.5 - centre).abs() / reach).clamp(min=0) * is_inside
        matrices.append(weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9))
    return torch.cat(matrices).float()


@contextmanager
def memory_errors(parameter: str) -> Iterator[None]:
    """Report which parameter to lower where a GPU's memory runs out.

    Raises:
        UserError: Instead of torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The GPU's memory is too small for a batch; lower {parameter} of this stage "
            f"({str(error).splitlines()[0]})"
        ) from error


def largest_batch(run: Callable[[int], object], device: torch.device, *, at_most: int) -> int:
    """Find how many photos a device's free memory holds, from the memory of one.

    Args:
        run: Computes a batch of so many photos.
        device: A CUDA device.
        at_most: No more than these.

    Returns:
        A power of two, or `at_most`.
    """
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(1)
    one = max(1, torch.cuda.max_memory_allocated(device) - before)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + unused
    count = int(SHARE_OF_MEMORY * free / one)
    return at_most if count >= at_most else 1 << max(0, count.bit_length() - 1)


def fetch(results: Iterable[tuple[T, Tensor]]) -> Iterator[tuple[T, Tensor]]:
    """Copy results to the host; the device computes the next one while the last one is used.

    Args:
        results: Pairs of anything and a tensor, made one after the other.

    Yields:
        The same pairs, the tensor on the CPU.
    """
    waiting: tuple[T, Tensor, torch.cuda.Event | None] | None = None
    for key, tensor in results:
        copy = tensor.to("cpu", non_blocking=True)
        event = None
        if tensor.is_cuda:
            event = torch.cuda.Event()
            event.record()
        if waiting:
            yield _wait(*waiting)
        waiting = key, copy, event
    if waiting:
        yield _wait(*waiting)


def _wait(key: T, copy: Tensor, event: "torch.cuda.Event | None") -> tuple[T, Tensor]:
    if event:
        event.synchronize()
    return key, copy
