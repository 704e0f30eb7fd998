"""A segmentation network as an ONNX graph that takes photos as they are decoded."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.core.label_maps import LabelMap
from affinitynet.networks.timm_parts import Conv2dSame

Photo = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

TRACED = (2, 64, 96, 3)
"""Shape of the photos that the graph is traced with; it takes any other too."""


class PhotoSegmenter(nn.Module):
    """From photos to masks in one pass of the network, all within the graph.

    Args:
        network: Maps images (N, 3, H, W) in [0, 1] to logits (N, K + 1, h, w).
        values: Mask value of each class.
    """

    values: Tensor

    def __init__(self, network: nn.Module, values: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("values", torch.tensor([0, *values], dtype=torch.uint8))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Segment photos of one shape.

        Args:
            images: RGB photos (N, H, W, 3), uint8.

        Returns:
            Probabilities (N, K + 1, H, W) float32, background first, and masks (N, H, W) uint8 in
            mask values.
        """
        pixels = images.permute(0, 3, 1, 2).float() / 255
        scores = self.network(pixels).softmax(dim=1)
        scores = functional.interpolate(scores, pixels.shape[-2:], mode="bilinear")
        return scores, self.values[scores.argmax(dim=1)]


class _SameConv(nn.Module):
    """timm's `Conv2dSame` (TensorFlow's SAME padding) in whole numbers.

    timm rounds a quotient of floats; carried along as a formula of the photo's size through a whole
    network, that takes torch minutes to simplify.
    """

    def __init__(self, conv: Conv2dSame) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, images: Tensor) -> Tensor:
        conv, pads = self.conv, []
        for axis in (1, 0):  # functional.pad takes the last one first
            side, stride = images.shape[axis + 2], conv.stride[axis]
            cells = (side + stride - 1) // stride
            total = (cells - 1) * stride + _extent(conv, axis) - side
            pads += [total // 2, total - total // 2]
        padded = functional.pad(images, pads)
        return functional.conv2d(
            padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups
        )


def _extent(conv: nn.Conv2d, axis: int) -> int:
    """Pixels that a convolution's kernel spans."""
    return (conv.kernel_size[axis] - 1) * conv.dilation[axis] + 1


def _ready_to_trace(segmenter: PhotoSegmenter) -> PhotoSegmenter:
    """Copy a segmenter, with equivalent operators where the exporter is slow."""
    segmenter = deepcopy(segmenter)
    for name, part in list(segmenter.named_modules()):
        if getattr(part, "inplace", False):
            part.inplace = False  # ONNX knows ReLU6 as such, but would have ReLU6_ taken apart
        if isinstance(part, Conv2dSame) and all(
            _extent(part, axis) >= part.stride[axis] for axis in (0, 1)
        ):  # else the padding could be negative
            segmenter.set_submodule(name, _SameConv(part))
    return segmenter


def export(segmenter: PhotoSegmenter, metadata: Mapping[str, Any]) -> bytes:
    """Write an ONNX model: input `images`, outputs `probabilities` and `masks`.

    Number, height and width of the photos are free.

    Args:
        segmenter: In evaluation mode, on the CPU, in float32.
        metadata: The model's metadata properties; all but strings become JSON.
    """
    free = dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC)
    with redirect_stdout(StringIO()):  # the exporter prints, whatever its options
        program = torch.onnx.export(
            _ready_to_trace(segmenter),
            (torch.zeros(TRACED, dtype=torch.uint8),),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["images"],
            output_names=["probabilities", "masks"],
            verbose=False,
        )
    assert program is not None
    for name, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value)
        program.model.metadata_props[name] = text
    content: bytes = program.model_proto.SerializeToString()
    return content


def deviation(model: bytes, segmenter: PhotoSegmenter, images: npt.NDArray[np.uint8]) -> float:
    """Return how far an ONNX model's probabilities are from torch's, at the worst pixel.

    Args:
        model: From `export`.
        segmenter: The exported module.
        images: (N, H, W, 3).
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"images": images})[0]
    with torch.inference_mode():
        expected = segmenter(torch.tensor(images))[0].numpy()
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf


def quantize(model: bytes, photos: Iterable[Photo]) -> bytes:
    """Let an ONNX model convolve 8-bit integers; the rest of the graph stays as it is.

    Weights have 7 of the 8 bits: processors without VNNI would overflow otherwise.

    Args:
        model: What `export` gave.
        photos: (H, W, 3) uint8, by which the ranges of the activations are found.
    """
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # without types
        def __init__(self) -> None:
            self.photos = iter(photos)

        def get_next(self) -> dict[str, Any] | None:
            photo = next(self.photos, None)
            return None if photo is None else {"images": photo[None]}

    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        given, prepared, made = (Path(folder, name) for name in ("given", "prepared", "made"))
        given.write_bytes(model)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        options: dict[str, Any] = {"per_channel": True, "reduce_range": True}
        quantize_static(prepared, made, Reader(), op_types_to_quantize=["Conv"], **options)
        return made.read_bytes()


def segment(model: bytes, photos: Iterable[Photo]) -> tuple[list[LabelMap], float]:
    """Segment photos on one core of the CPU.

    Returns:
        Their masks, and the mean milliseconds that a photo took.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    masks, seconds = [], 0.0
    for photo in photos:
        started = process_time()
        masks.append(session.run(["masks"], {"images": photo[None]})[0][0])
        seconds += process_time() - started
    return masks, 1000 * seconds / max(len(masks), 1)
