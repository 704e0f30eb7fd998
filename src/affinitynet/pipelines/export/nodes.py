"""Nodes of the `export` pipeline."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.images import to_pixels
from affinitynet.core.label_maps import decode, voc_palette
from affinitynet.core.metrics import confusion_matrix, mean_iou
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.networks.parameters import nearest_stride
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.pages import TEMPLATES
from affinitynet.pipelines.parameters import ONNX

if TYPE_CHECKING:
    from affinitynet.networks.onnx import PhotoSegmenter

logger = logging.getLogger(__name__)


def pack_checkpoint(model: Checkpoint) -> bytes:
    """Pack a segmentation network into one complete file.

    Returns:
        The content of a `.safetensors` file for `affinitynet.load`. Its metadata are the
        configuration (network, normalisation, classes with their mask values, working size and
        scales) and the palette (mask value to RGB), both as JSON.
    """
    from affinitynet.networks.checkpoint import to_safetensors

    return to_safetensors(model, palette=_palette(model))


def write_card(
    model: Checkpoint,
    index: pd.DataFrame,
    metrics: dict[str, Any],
    run: RunDescription,
    license: str,
) -> str:
    """Write the model card of a segmentation network, as Hugging Face's hub reads it.

    Args:
        metrics: The network's scores; empty without masks.
        run: Which made the network, or exports it.
        license: Of the network, as the hub names it; `other` if it is not decided.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    config, miou = model.config, metrics.get("miou")
    scored = EvalResult(
        task_type="image-segmentation",
        dataset_type="image-segmentation",
        dataset_name=run.data_set,
        dataset_split="val",
        metric_type="mean_iou",
        metric_name="mean IoU",
        metric_value=miou,
    )
    data = ModelCardData(
        license=license,
        library_name="affinitynet",
        pipeline_tag="image-segmentation",
        tags=["weakly-supervised", "semantic-segmentation"],
        model_name=f"affinitynet, {run.data_set}",
        eval_results=[] if miou is None else [scored],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATES / "model_card.md"),
        config=config,
        classes=config["classes"],
        iou=metrics.get("iou", {}),
        miou=miou,
        photos=index["split"].value_counts().reindex(["train", "val"], fill_value=0).to_dict(),
        run=run,
        license=license,
    )
    return str(card)


def export_onnx(
    model: Checkpoint, index: pd.DataFrame, photos: Partitions[Image.Image], onnx: ONNX | None
) -> bytes:
    """Write a segmentation network as ONNX, and check it against torch.

    The check is on a photo of the data set at the working size or smaller, and on the same without
    its last row and column, so that odd and even shapes are tried.

    Args:
        index: The images of the data set; the first one is checked.
        onnx: How to export and check; None leaves it out.

    Returns:
        The content of an `.onnx` file, see `affinitynet.networks.onnx`.

    Raises:
        UserError: If the network cannot be written as ONNX, or ONNX Runtime finds other
            probabilities than torch.
    """
    from affinitynet.networks.onnx import deviation

    if onnx is None:
        raise UserError("parameter export.onnx is null: there is nothing to export")
    segmenter, content = _convert(model, onnx.output_stride)
    image_id = index.index[0]
    longest = max(index.loc[image_id, ["width", "height"]])
    side = min(model.config["inference"]["long_side"] or longest, onnx.check_side)
    photo = to_pixels(photos[image_id](), int(side))
    for images in (photo[None], np.ascontiguousarray(photo[None, :-1, :-1])):
        difference = deviation(content, segmenter, images)
        if not difference <= onnx.tolerance:
            height, width = images.shape[1:3]
            raise UserError(
                f"The ONNX model and torch disagree: probabilities of the photo {image_id} at "
                f"{width} x {height} differ by {difference:.1e}, more than "
                f"export.onnx.tolerance = {onnx.tolerance:.1e}. The checkpoint itself is sound; "
                "see whether other versions of torch, onnxscript and onnxruntime do better."
            )
    return content


def export_int8(
    model: Checkpoint,
    onnx: bytes,
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    count: int,
    seed: int,
) -> tuple[bytes, dict[str, float]]:
    """Quantize the ONNX model to 8 bits, and compare it with the one in float32.

    Args:
        onnx: The model in float32.
        count: Photos of train that the ranges are found by, and of val that are compared, at most.
        seed: They are drawn by it.

    Returns:
        The content of an `.onnx` file; and `agreement`, the share of equal pixels, `miou` between
        both models' masks, `float_ms` and `int8_ms` a photo, `float_mb` and `int8_mb`.
    """
    from affinitynet.networks.onnx import quantize, segment

    values = [*model.config["classes"].values()]
    long_side = model.config["inference"]["long_side"]
    drawn: dict[str, list[npt.NDArray[np.uint8]]] = {}
    for split in ("train", "val"):
        own = index[index["split"] == split]
        some = own.sample(min(count, len(own)), random_state=seed).index
        drawn[split] = [to_pixels(photos[image_id](), long_side) for image_id in some]
    small = quantize(onnx, drawn["train"])
    (expected, float_ms), (found, int8_ms) = (segment(each, drawn["val"]) for each in (onnx, small))
    counts = sum(
        confusion_matrix(decode(one, values), decode(other, values), num_classes=len(values) + 1)
        for one, other in zip(expected, found, strict=True)
    )
    report = {
        "agreement": float(np.trace(counts) / np.sum(counts)),
        "miou": float(mean_iou(counts)),
        "float_ms": float_ms,
        "int8_ms": int8_ms,
        "float_mb": len(onnx) / 1e6,
        "int8_mb": len(small) / 1e6,
    }
    logger.info(
        "8 bits: %.1f %% of the pixels have the same class as in float32, mIoU between the masks "
        "%.3f; %.0f ms a photo on a core instead of %.0f; %.1f MB instead of %.1f.",
        *(100 * report["agreement"], report["miou"], int8_ms, float_ms),
        *(report["int8_mb"], report["float_mb"]),
    )
    return small, report


def _convert(model: Checkpoint, output_stride: int | None) -> tuple[PhotoSegmenter, bytes]:
    """Write a network as ONNX; return it in torch's form too."""
    from affinitynet.networks.checkpoint import restore
    from affinitynet.networks.folding import fold_norms
    from affinitynet.networks.onnx import PhotoSegmenter, export

    config = model.config
    stride = output_stride or nearest_stride(config["inference"]["scales"])
    metadata = {
        "classes": {"background": 0, **config["classes"]},
        "palette": _palette(model),
        "long_side": config["inference"]["long_side"],
        "output_stride": stride,
    }
    try:
        network: Any = fold_norms(restore(model, output_stride=stride))
        if network.backbone.tokens:
            raise ValueError("transformers are not; give export.onnx=null")
        segmenter = PhotoSegmenter(network, [*config["classes"].values()]).eval()
        return segmenter, export(segmenter, metadata)
    except Exception as error:
        raise UserError(
            f"The segmentation network ({config['backbone']['name']}) cannot be written as ONNX "
            f"with export.onnx.output_stride = {stride}: "
            f"{(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error


def _palette(model: Checkpoint) -> dict[str, list[int]]:
    """Mask value, as JSON has it, to RGB, of background and classes."""
    colours = voc_palette()
    return {str(value): colours[value].tolist() for value in (0, *model.config["classes"].values())}
