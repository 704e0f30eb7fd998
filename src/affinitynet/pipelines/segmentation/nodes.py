"""Nodes of the `segmentation` pipeline."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from affinitynet.core.dense_crf import CRFParameters, refine, unary_from_probabilities
from affinitynet.core.label_maps import LabelMap, encode
from affinitynet.errors import UserError
from affinitynet.execution import Execution, ahead, chunks, map_images
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.pipelines.images import (
    Readers,
    read_photo,
    score_photos,
    share_out,
    to_255ths,
    upsample,
    upsampled_argmax,
)
from affinitynet.pipelines.scoring import (
    count,
    count_labels,
    summarise,
    tabulate_confusion,
    tabulate_images,
)

T = TypeVar("T")


def predict_masks(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    classes: dict[str, int],
    inference: SegmentationInference,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Segment the photos of `val`, at their own size.

    Args:
        index: The images of the data set; those of `val` are done.
        model: The segmentation network's checkpoint.
        photos: Image id to a function that reads the photo.
        classes: Class name to mask value; the network must have learned the same.
        inference: Scales, flips, CRF.
        execution: Device, and processes for the CRF.

    Yields:
        Image id to its predicted mask, in mask values.

    Raises:
        UserError: If the checkpoint was trained for other classes.
    """
    check_classes(model, classes)
    val = index[index["split"] == "val"]
    yield from chunks(segment(val, model, photos, inference, execution))


def check_classes(model: dict[str, Any], classes: dict[str, int]) -> None:
    """Check that a checkpoint, which all environments share, is for this one's classes.

    Args:
        model: The segmentation network's checkpoint.
        classes: Class name to mask value.

    Raises:
        UserError: If it was trained for other classes.
    """
    learned = model["config"]["classes"]
    if learned != classes:
        raise UserError(
            "The newest checkpoint segmentation.model was trained for other classes "
            f"({', '.join(learned)}) than this environment's ({', '.join(classes)}). Train one "
            "with `kedro run --pipeline segmentation`, or name the version of an older one: "
            "--load-versions segmentation.model:<version>"
        )


def segment(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    inference: SegmentationInference,
    execution: Execution,
) -> Iterator[tuple[str, LabelMap]]:
    """Segment photos with a trained network, for a node that yields the masks.

    Args:
        index: The images to do, with `width` and `height`.
        model: The segmentation network's checkpoint.
        photos: Image id to a function that reads the photo.
        inference: Scales, flips, CRF.
        execution: Device, and processes for the CRF.

    Yields:
        Image id and its mask (height, width), in mask values.
    """
    yield from _segment(index, model, photos, inference, execution, pick=_mask_alone, outputs=True)


def segment_with_confidence(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    inference: SegmentationInference,
    execution: Execution,
) -> Iterator[tuple[str, LabelMap, npt.NDArray[np.uint8]]]:
    """Segment photos as `segment` does, and say how sure the network is of each pixel.

    Args:
        index: As for `segment`, like all the others.
        model: The checkpoint.
        photos: Image id to a function that reads the photo.
        inference: Scales, flips, CRF.
        execution: Device, and processes for the CRF.

    Yields:
        Image id, its mask (height, width) in mask values, and the probability of each pixel's
        class (height, width) in 255ths.
    """
    segmented = _segment(index, model, photos, inference, execution, pick=_both, outputs=False)
    for image_id, (mask, confidence) in segmented:
        yield image_id, mask, confidence


def _mask_alone(mask: LabelMap, _: npt.NDArray[np.uint8]) -> LabelMap:
    return mask


def _both(
    mask: LabelMap, confidence: npt.NDArray[np.uint8]
) -> tuple[LabelMap, npt.NDArray[np.uint8]]:
    return mask, confidence


def _segment(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    inference: SegmentationInference,
    execution: Execution,
    *,
    pick: Callable[..., T],
    outputs: bool,
) -> Iterator[tuple[str, T]]:
    """Segment photos where the devices are; keep what `pick` takes of mask and confidence."""
    values = list(model["config"]["classes"].values())
    scoring: dict[str, Any] = {"model": model, "inference": inference, "execution": execution}
    crf = inference.crf
    work = partial(_score, **scoring) if crf else partial(_label, values, pick, **scoring)
    done: Iterator[tuple[str, Any]] = share_out(
        work,
        index,
        photos,
        options=inference,
        execution=execution,
        description="Segmenting photos",
        outputs=outputs and not crf,
    )
    if not crf:
        yield from done
        return
    yield from map_images(
        partial(_refine_one, values, crf, pick),
        ((image_id, scores, photos[image_id]) for image_id, scores in done),
        total=len(index),
        execution=execution,
        skip=True,
        outputs=outputs,
    )


def _label(
    values: list[int],
    pick: Callable[..., T],
    index: pd.DataFrame,
    photos: Readers,
    *,
    inference: SegmentationInference,
    **options: Any,
) -> Iterator[tuple[str, T]]:
    """The best label of each pixel, upsampled while the network does the next photos."""
    import torch

    sizes = dict(zip(index.index, zip(index["height"], index["width"], strict=True), strict=True))
    scored = _score(index, photos, inference=inference, **options)
    for image_id, scores in ahead(scored, inference.batch_size):
        labels, confidence = upsampled_argmax(torch.from_numpy(scores), sizes[image_id])
        yield image_id, pick(encode(labels, values), confidence)


def _score(
    index: pd.DataFrame, photos: Readers, **options: Any
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    from affinitynet.networks.inference import class_probabilities

    for image_id, scores in score_photos(index, photos, score=class_probabilities, **options):
        yield image_id, scores.cpu().numpy()


def _refine_one(
    values: list[int],
    crf: CRFParameters,
    pick: Callable[..., T],
    scores: npt.NDArray[np.float32],
    read: Any,
) -> T:
    photo = read_photo(read, None)
    unary = unary_from_probabilities(upsample(scores, photo.shape[:2]))
    probabilities = refine(photo, unary, crf)
    labels = encode(probabilities.argmax(axis=0), values)
    return pick(labels, to_255ths(probabilities.max(axis=0)))


def score_predictions(
    predictions: Readers, masks: Readers, classes: dict[str, int], execution: Execution
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Score the predictions of `val`.

    Args:
        predictions: Image id to a function that reads the predicted mask.
        masks: Image id to a function that reads the mask.
        classes: Class name to mask value.
        execution: Processes.

    Returns:
        `miou`, and `iou` by class. The confusion counts, and each image's own mIoU.
    """
    counts, images = count(
        count_labels, predictions, masks, classes, execution, "Scoring predictions"
    )
    return (
        summarise(counts, classes),
        tabulate_confusion({"segmentation": counts}, classes),
        tabulate_images(images, ["segmentation"]),
    )
