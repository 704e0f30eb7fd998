"""Nodes of the `revision` pipeline."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.label_maps import LabelMap
from affinitynet.data.corrections import Corrected, without_corrected
from affinitynet.data.files import Partitions
from affinitynet.execution import Execution
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    per_batch,
    per_image,
    tagged_photos,
)
from affinitynet.pipelines.scoring import (
    count,
    count_labels,
    count_maps,
    summarise,
    tabulate_confusion,
    tabulate_images,
)
from affinitynet.stages.parameters import RandomWalk


def walk_cams(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    random_walk: RandomWalk,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Spread the CAMs, background included, by the random walk vec M* = T^t vec M."""
    from affinitynet.stages.revision import RandomWalker

    tagged = tagged_photos(index)
    work = NetworkWork(RandomWalker, model, random_walk, execution, "Random walk")
    found = tagged[tagged.index.isin([*maps])]
    yield from per_batch(work, found, photos, checked(maps, "cam.maps"))


def make_pseudo_labels(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    classes: dict[str, int],
    crf: CRFParameters,
    confidence: float,
    long_side: int | None,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Upsample the revised maps and refine their argmax with the dense CRF."""
    from affinitynet.stages.refinement import Refiner

    refiner = Refiner([*classes.values()], crf, confidence, long_side)
    ids, walked = tagged_photos(index).index, checked(maps, "revision.maps")
    yield from per_image(refiner, ids, photos, walked, execution, "Refining pseudo labels")


def score_revision(
    maps: Partitions[ClassMaps],
    labels: Partitions[LabelMap],
    masks: Partitions[LabelMap],
    corrected: Corrected,
    index: pd.DataFrame,
    classes: dict[str, int],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Score the walk and the pseudo labels, corrected photos apart.

    Returns:
        `random_walk_miou`, `pseudo_label_miou`, and the pseudo labels' `iou` by class; none of
        them without masks. The confusion counts of both, and each image's own mIoU.
    """
    maps, masks = checked(maps, "revision.maps"), without_corrected(masks, corrected, index)
    walk, of_walk = count(count_maps, maps, masks, classes, execution, "Scoring the random walk")
    pseudo, of_pseudo = count(
        count_labels, labels, masks, classes, execution, "Scoring pseudo labels"
    )
    scores = summarise(pseudo, classes)
    metrics = scores and {
        "random_walk_miou": summarise(walk, classes)["miou"],
        "pseudo_label_miou": scores["miou"],
        "iou": scores["iou"],
    }
    images = {i: (score, of_pseudo[i]) for i, score in of_walk.items() if i in of_pseudo}
    return (
        metrics,
        tabulate_confusion({"random walk": walk, "pseudo labels": pseudo}, classes),
        tabulate_images(images, ["random_walk", "pseudo_label"]),
    )
