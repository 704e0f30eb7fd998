"""Nodes of the `cam` pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.core.metrics import mean_iou_of_counts
from affinitynet.data.files import Arrays, Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import CAM
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    map_on_devices,
    per_batch,
    tagged_photos,
)
from affinitynet.pipelines.scoring import (
    Metrics,
    confusion_at,
    count,
    count_thresholds,
    summarise,
    tabulate_confusion,
    tabulate_images,
    threshold_counts,
)


def find_prototypes(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    cam: CAM,
    execution: Execution,
) -> Arrays:
    """Find the prototypes that draw the classes' maps, in rounds: each uses the last one's maps.

    Returns:
        `prototypes` (K, C), float32; nothing if there are no rounds: the classifier draws the maps.
    """
    import torch

    from affinitynet.core.prototypes import prototypes
    from affinitynet.stages.cam import DirectionSums

    tagged = tagged_photos(index)
    labels = tag_labels(tagged, [*classes])
    found: Arrays = {}
    for _ in range(cam.prototype_rounds):
        make = partial(DirectionSums, prototypes=found.get("prototypes"))
        work = NetworkWork(make, model, cam.inference, execution, "Finding prototypes")
        total: npt.NDArray[np.float64] | None = None
        for image_id, sums in map_on_devices(work, tagged, photos, labels):
            if total is None:
                total = np.zeros((2, len(classes), sums.shape[-1]))
            total[:, labels[image_id].astype(int) - 1] += sums
        if total is not None:
            found = {"prototypes": prototypes(torch.from_numpy(total)).float().numpy()}
    return found


def infer_cams(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    cam: CAM,
    execution: Execution,
    prototypes: Arrays,
) -> Iterator[dict[str, ClassMaps]]:
    """Compute the CAMs of the tagged training photos."""
    from affinitynet.stages.cam import CamExtractor

    tagged = tagged_photos(index)
    make = partial(CamExtractor, prototypes=prototypes.get("prototypes"))
    work = NetworkWork(make, model, cam.inference, execution, "Inferring CAMs")
    yield from per_batch(work, tagged, photos, tag_labels(tagged, [*classes]))


def tag_labels(index: pd.DataFrame, names: list[str]) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the labels of each image's tags, in the tags' order; the first class is 1."""
    return {
        str(image_id): np.array([names.index(name) + 1 for name in tags if name], np.uint8)
        for image_id, tags in index["tags"].str.split("|").items()
    }


def score_cams(
    maps: Partitions[ClassMaps],
    masks: Partitions[LabelMap],
    classes: Classes,
    cam: CAM,
    execution: Execution,
) -> tuple[Metrics, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Score the CAMs at the best of a grid of background thresholds.

    The threshold only serves the comparison: no later stage uses it.

    Returns:
        The scores (`miou`, `iou` by class, `threshold`); none without masks. The mIoU at each
        threshold, beside the exponent of eq. 2 that puts the background there too:
        (1 - M)^alpha = M at the threshold. The confusion counts, and each image's own mIoU, at
        the best threshold.
    """
    grid, size = np.sort(np.asarray(cam.thresholds, float)), len(classes) + 1
    joint, images = count(
        partial(count_thresholds, thresholds=grid),
        checked(maps, "cam.maps"),
        masks,
        classes,
        execution,
        "Scoring CAMs",
        score=lambda counts: mean_iou_of_counts(threshold_counts(counts, size)),
    )
    mious = mean_iou_of_counts(threshold_counts(joint, size))
    best = int(np.argmax(mious))  # the first one without masks, where all are NaN
    confusion = confusion_at(joint, best, size)
    scores = summarise(confusion, classes)
    return (
        {**scores, "threshold": float(grid[best])} if scores else {},
        pd.DataFrame({"threshold": grid, "alpha": np.log(grid) / np.log1p(-grid), "miou": mious}),
        tabulate_confusion({"CAM": confusion}, classes),
        tabulate_images({i: each[best] for i, each in images.items()}, ["cam"]),
    )


def score_tags(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    cam: CAM,
    execution: Execution,
) -> Metrics:
    """Score the classifier on the tags of val, which it has not seen. No mask is involved.

    Returns:
        `val_ap`, the average precision by class, of the classes that some photos of val show and
        some do not; `val_map`, their mean. Nothing if there is no such class.
    """
    from sklearn.metrics import average_precision_score

    from affinitynet.stages.cam import TagClassifier

    val = index[index["split"] == "val"]
    work = NetworkWork(TagClassifier, model, cam.inference, execution, "Classifying photos")
    logits = dict(map_on_devices(work, val, photos))
    tags = val.loc[val.index.isin([*logits]), "tags"].str.split("|")
    scores = np.array([logits[image_id] for image_id in tags.index])
    shown = np.array([[name in names for name in classes] for names in tags])
    precision = {
        name: float(average_precision_score(truth, score))
        for name, truth, score in zip(classes, shown.T, scores.T, strict=True)
        if truth.any() and not truth.all()
    }
    if not precision:
        return {}
    return {"val_map": float(np.mean([*precision.values()])), "val_ap": precision}
