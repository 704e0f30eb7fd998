"""Nodes of the `affinity_labels` pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap, decode
from affinitynet.core.metrics import confusion_matrix
from affinitynet.core.separation import variance_between_classes
from affinitynet.data.corrections import Corrected, without_corrected
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import AffinityLabels, AffinityTraining
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    draw,
    map_items,
    map_on_devices,
    per_image,
    photos_with,
    tagged_photos,
)
from affinitynet.pipelines.scoring import (
    Counts,
    Metrics,
    count,
    tabulate_confusion,
    tabulate_images,
)
from affinitynet.pipelines.training import initialise_affinity_net
from affinitynet.stages.parameters import AUTO, Alphas, AutoRandomWalk, WalkSetting

logger = logging.getLogger(__name__)

TRIED = tuple(np.geomspace(0.25, 32, 15).tolist())
"""Exponents of the background: steps of a factor of 1.4."""


def choose_alphas(
    index: pd.DataFrame,
    classifier: Checkpoint,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    affinity_labels: AffinityLabels,
    affinity_training: AffinityTraining,
    execution: Execution,
) -> dict[str, float]:
    """Choose the exponents that are `auto`, by the photos themselves; no mask is involved.

    They lie around the one whose label maps leave most variance between the classes: see
    `affinitynet.core.separation`.

    Args:
        classifier: Its backbone looks at the photos.
        affinity_labels: What is given, and what is `auto`.
        affinity_training: The maps of the backbone that are looked at.

    Returns:
        `low` and `high`.
    """
    from affinitynet.stages.revision import WalkTrials

    middle, options = 1.0, affinity_labels
    some = draw(photos_with(maps, index), options.compared)
    if options.alphas.is_auto and len(some):
        classes = classifier.config["classes"]
        network = initialise_affinity_net(affinity_training, classes, 0, classifier)
        still = AutoRandomWalk(**vars(options.features), alpha=AUTO, beta=1, steps=0, radius=2)
        make = partial(WalkTrials, settings=[WalkSetting(alpha, 1, 0) for alpha in TRIED])
        work = NetworkWork(make, network, still, execution, "Trying backgrounds")
        tried = map_on_devices(work, some, photos, checked(maps, "cam.maps"))
        between = variance_between_classes((photo for _, photo in tried), len(classes))
        middle = TRIED[int(between.argmax())]
        logger.info("An alpha of %.3g divides %d photos best.", middle, len(some))
    return asdict(options.alphas.around(middle))


def label_pixels(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    classes: Classes,
    affinity_labels: AffinityLabels,
    chosen: dict[str, float],
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Decide which pixels are surely an object, surely background, or neither."""
    from affinitynet.stages.affinity_labels import AffinityLabeller

    options = affinity_labels
    values = [*classes.values()]
    labeller = AffinityLabeller(values, Alphas(**chosen), options.crf, options.long_side)
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
        items, description = labels.items(), "Measuring coverage"
        shares = map_items(_share_labelled, items, execution, description, skip=True)
        pixels, labelled = np.sum([share for _, share in shares], axis=0)
        metrics = {"coverage": float(labelled / pixels)}
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


def _share_labelled(read: Callable[[], LabelMap]) -> tuple[int, int]:
    labels = read()
    return labels.size, int((labels != IGNORE_INDEX).sum())
