"""Nodes of the `affinity_labels` pipeline."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap, decode, encode
from affinitynet.core.metrics import confusion_matrix
from affinitynet.execution import Execution, stream
from affinitynet.pipelines.finite import check_maps
from affinitynet.pipelines.images import Readers, read_photo, resize_labels, tagged_photos, upsample
from affinitynet.pipelines.parameters import Alphas
from affinitynet.pipelines.scoring import Counts, count, tabulate_confusion, tabulate_images


def label_pixels(
    index: Any,
    photos: Readers,
    maps: Readers,
    classes: dict[str, int],
    alphas: Alphas,
    crf: CRFParameters,
    long_side: int | None,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Decide which pixels are surely an object, surely background, or neither.

    Args:
        index: The images of the data set; the tagged ones of `train` that have CAMs are done.
        photos: Image id to a function that reads the photo.
        maps: Image id to a function that reads the CAMs.
        classes: Class name to mask value.
        alphas: Exponents of the background, eq. 2.
        crf: The dense CRF.
        long_side: Working size in pixels; None for the photo's own size.
        execution: Processes.

    Yields:
        Image id to its label map at the working size, in mask values; neutral pixels are 255.
    """
    maps = check_maps(maps, "cam.maps")
    ids = [i for i in tagged_photos(index).index if i in maps]
    yield from stream(
        partial(_label_one, list(classes.values()), alphas, crf, long_side),
        ((i, photos[i], maps[i]) for i in ids),
        total=len(ids),
        execution=execution,
        description="Labelling confident pixels",
        skip=True,
        outputs=True,
    )


def _label_one(
    values: list[int],
    alphas: Alphas,
    crf: CRFParameters,
    long_side: int | None,
    read: Callable[[], Any],
    read_maps: Callable[[], dict[str, npt.NDArray[Any]]],
) -> LabelMap:
    import torch

    from affinitynet.core.affinity import affinity_labels
    from affinitynet.core.cams import with_background
    from affinitynet.core.dense_crf import refine_many, unary_from_probabilities

    photo = read_photo(read, long_side)
    stored = read_maps()
    cams = torch.from_numpy(upsample(stored["maps"], photo.shape[:2]))
    unaries = [
        unary_from_probabilities(with_background(cams, alpha).numpy())
        for alpha in (alphas.low, alphas.high)
    ]
    low, high = (scores.argmax(axis=0) for scores in refine_many(photo, unaries, crf))
    labels = np.asarray(affinity_labels(low, high))
    table = np.full(256, IGNORE_INDEX, np.uint8)  # the image's own labels -> the data set's
    table[: len(stored["labels"]) + 1] = [0, *stored["labels"]]
    return encode(table[labels], values)


def score_labels(
    labels: Readers, masks: Readers, classes: dict[str, int], execution: Execution
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Score the confident pixels: how many there are, and how many of them are right.

    Args:
        labels: Image id to a function that reads the label map.
        masks: Image id to a function that reads the mask.
        classes: Class name to mask value.
        execution: Processes.

    Returns:
        `coverage`, the share of pixels that have a label, and `accuracy`, the share of those
        whose label is the truth's; pixels that the mask leaves void do not count. Without any
        masks, the coverage alone, of all pixels. The confusion counts, neutral pixels in a
        column of their own, and each image's own two scores.
    """
    counts, images = count(
        _count_confident, labels, masks, classes, execution, "Scoring labels", _coverage_accuracy
    )
    if images:
        coverage, accuracy = _coverage_accuracy(counts)
        metrics = {"coverage": coverage, "accuracy": accuracy}
    else:
        metrics = {"coverage": _measure_coverage(labels, execution)}
    return (
        metrics,
        tabulate_confusion({"affinity labels": counts}, classes),
        tabulate_images(images, ["coverage", "accuracy"]),
    )


def _coverage_accuracy(counts: Counts) -> tuple[float, float]:
    labelled = int(counts[:, :-1].sum())
    return labelled / max(int(counts.sum()), 1), int(counts.trace()) / max(labelled, 1)


def _count_confident(
    mask: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], values: list[int]
) -> Counts:
    """Count one image: (K + 1, K + 2), the last column for pixels without a label."""
    labels = resize_labels(decode(mask, values), truth.shape)
    neutral = len(values) + 1
    named = np.where(labels == IGNORE_INDEX, neutral, labels)
    return confusion_matrix(truth, named, num_classes=neutral + 1)[:neutral]


def _measure_coverage(labels: Readers, execution: Execution) -> float:
    shares = [
        share
        for chunk in stream(
            _share_labelled,
            labels.items(),
            total=len(labels),
            execution=execution,
            description="Measuring coverage",
            skip=True,
        )
        for share in chunk.values()
    ]
    pixels, labelled = np.sum(shares, axis=0)
    return float(labelled / pixels)


def _share_labelled(read: Callable[[], LabelMap]) -> tuple[int, int]:
    labels = read()
    return labels.size, int((labels != IGNORE_INDEX).sum())
