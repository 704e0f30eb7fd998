"""Nodes of the `cam` pipeline."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from affinitynet.core.metrics import mean_iou_of_counts
from affinitynet.execution import Execution, chunks
from affinitynet.networks.parameters import FeatureParameters, InferenceParameters
from affinitynet.pipelines.finite import check_maps
from affinitynet.pipelines.images import (
    Readers,
    network_outputs,
    score_photos,
    share_out,
    tagged_photos,
)
from affinitynet.pipelines.scoring import (
    confusion_at,
    count,
    count_thresholds,
    summarise,
    tabulate_confusion,
    tabulate_images,
    threshold_counts,
)


def infer_cams(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    classes: dict[str, int],
    inference: InferenceParameters,
    execution: Execution,
) -> Iterator[dict[str, dict[str, Any]]]:
    """Compute the CAMs of the training photos, of their tagged classes alone (eq. 1).

    Args:
        index: The images of the data set; the tagged ones of `train` are done.
        model: The trained classifier's checkpoint.
        photos: Image id to a function that reads the photo.
        classes: Class name to mask value.
        inference: Scales, flips, batches.
        execution: Device.

    Yields:
        Image id to `labels` (K,) uint8, the tagged classes' labels, and `maps` (K, h, w)
        float16, their CAMs M_c / max M_c in [0, 1].
    """
    train = tagged_photos(index)
    work = partial(
        _infer, list(classes), model=model, score=_cams, inference=inference, execution=execution
    )
    yield from chunks(
        share_out(
            work,
            train,
            photos,
            options=inference,
            execution=execution,
            description="Inferring CAMs",
            outputs=True,
        )
    )


def _infer(
    names: list[str], index: pd.DataFrame, photos: Readers, **scoring: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    from affinitynet.core.cams import normalise

    tags = index["tags"].str.split("|")
    for image_id, cams in score_photos(index, photos, **scoring):
        labels = np.array([names.index(name) + 1 for name in tags[image_id]], np.uint8)
        maps = normalise(cams[labels.astype(int) - 1])
        yield image_id, {"labels": labels, "maps": maps.cpu().numpy().astype(np.float16)}


def _cams(network: Any, images: Any) -> Any:
    return network.cam(images)


def score_cams(
    maps: Readers,
    masks: Readers,
    classes: dict[str, int],
    thresholds: list[float],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Score the CAMs at the best of a grid of background thresholds.

    The threshold serves the comparison alone: no later stage knows of it.

    Args:
        maps: Image id to a function that reads the CAMs.
        masks: Image id to a function that reads the mask.
        classes: Class name to mask value.
        thresholds: The grid, in (0, 1).
        execution: Processes.

    Returns:
        The scores (`miou`, `iou` by class, `threshold`); none without masks. The mIoU at each
        threshold, beside the exponent of eq. 2 that puts the background there too:
        (1 - M)^alpha = M at the threshold. The confusion counts, and each image's own mIoU, at
        the best threshold.
    """
    grid = np.sort(np.asarray(thresholds, float))
    size = len(classes) + 1
    joint, images = count(
        partial(count_thresholds, thresholds=grid),
        check_maps(maps, "cam.maps"),
        masks,
        classes,
        execution,
        "Scoring CAMs",
        score=lambda counts: mean_iou_of_counts(threshold_counts(counts, size)),
    )
    miou = mean_iou_of_counts(threshold_counts(joint, size))
    alpha = np.log(grid) / np.log1p(-grid)
    curve = pd.DataFrame({"threshold": grid, "alpha": alpha, "miou": miou})
    best = int(np.argmax(miou))
    confusion = confusion_at(joint, best, size)
    scores = summarise(confusion, classes)
    return (
        {**scores, "threshold": float(grid[best])} if scores else {},
        curve,
        tabulate_confusion({"CAM": confusion}, classes),
        tabulate_images({i: each[best] for i, each in images.items()}, ["cam"]),
    )


def classify(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    inference: InferenceParameters,
    execution: Execution,
) -> Iterator[tuple[str, list[float]]]:
    """Classify photos at the first of the scales, unflipped.

    Args:
        index: The images to do.
        model: The trained classifier's checkpoint.
        photos: Image id to a function that reads the photo.
        inference: As for `infer_cams`.
        execution: Device.

    Yields:
        Image id and the logit of each class.
    """
    options = FeatureParameters(
        long_side=inference.long_side,
        batch_size=inference.batch_size,
        bfloat16=inference.bfloat16,
        output_stride=inference.scales[0][1],
    )
    yield from share_out(
        partial(_classify, model=model, inference=options, execution=execution),
        index,
        photos,
        options=options,
        execution=execution,
        description="Classifying photos",
    )


def _classify(
    index: pd.DataFrame, photos: Readers, **options: Any
) -> Iterator[tuple[str, list[float]]]:
    for ids, logits in network_outputs(index, photos, **options):
        # as lists: arrays would lie scattered over memory that layers free
        yield from zip(ids, logits.tolist(), strict=True)


def score_tags(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    classes: dict[str, int],
    inference: InferenceParameters,
    execution: Execution,
) -> dict[str, Any]:
    """Score the classifier on the tags of val, which it has not seen. No mask is involved.

    Args:
        index: The images of the data set; those of `val` are done.
        model: The trained classifier's checkpoint.
        photos: Image id to a function that reads the photo.
        classes: Class name to mask value.
        inference: See `classify`.
        execution: Device.

    Returns:
        `val_ap`, the average precision by class, of the classes that some photos of val show and
        some do not; `val_map`, their mean. Nothing if there is no such class.
    """
    from sklearn.metrics import average_precision_score

    val = index[index["split"] == "val"]
    logits = dict(classify(val, model, photos, inference, execution))
    val = val[val.index.isin([*logits])]
    scores = np.array([logits[image_id] for image_id in val.index])
    tags = val["tags"].str.split("|")
    shown = np.array([[name in names for name in classes] for names in tags])
    precision = {
        name: float(average_precision_score(truth, score))
        for name, truth, score in zip(classes, shown.T, scores.T, strict=True)
        if truth.any() and not truth.all()
    }
    if not precision:
        return {}
    return {"val_map": float(np.mean([*precision.values()])), "val_ap": precision}
