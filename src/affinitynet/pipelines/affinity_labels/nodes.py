"""Nodes of the `affinity_labels` pipeline."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap, decode
from affinitynet.core.metrics import confusion_matrix
from affinitynet.data.corrections import Corrected, without_corrected
from affinitynet.data.files import Partitions
from affinitynet.execution import Execution, map_in_chunks
from affinitynet.pipelines.parameters import AffinityLabels
from affinitynet.pipelines.per_image import checked, per_image, tagged_photos
from affinitynet.pipelines.scoring import (
    Counts,
    Metrics,
    count,
    tabulate_confusion,
    tabulate_images,
)


def label_pixels(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    classes: Classes,
    affinity_labels: AffinityLabels,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Decide which pixels are surely an object, surely background, or neither."""
    from affinitynet.stages.affinity_labels import AffinityLabeller

    chosen = affinity_labels
    values = [*classes.values()]
    labeller = AffinityLabeller(values, chosen.alphas, chosen.crf, chosen.long_side)
    ids, cams = tagged_photos(index).index, checked(maps, "cam.maps")
    yield from per_image(labeller, ids, [photos, cams], execution, "Labelling confident pixels")


def score_labels(
    labels: Partitions[LabelMap],
    masks: Partitions[LabelMap],
    corrected: Corrected,
    index: pd.DataFrame,
    classes: Classes,
    execution: Execution,
) -> tuple[Metrics, pd.DataFrame, pd.DataFrame]:
    """Score the confident pixels: how many there are, and how many of them are right.

    Photos with a corrected mask are left out.

    Returns:
        `coverage`, the share of pixels that have a label, and `accuracy`, the share of those
        whose label is the truth's; pixels that the mask leaves void do not count. Without any
        masks, only the coverage, of all pixels. The confusion counts, neutral pixels in a
        column of their own, and each image's own two scores.
    """
    masks = without_corrected(masks, corrected, index)
    counts, images = count(
        _count_confident, labels, masks, classes, execution, "Scoring labels", _coverage_accuracy
    )
    if images:
        coverage, accuracy = _coverage_accuracy(counts)
        metrics: Metrics = {"coverage": coverage, "accuracy": accuracy}
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


def _measure_coverage(labels: Partitions[LabelMap], execution: Execution) -> float:
    shares = [
        share
        for chunk in map_in_chunks(
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
