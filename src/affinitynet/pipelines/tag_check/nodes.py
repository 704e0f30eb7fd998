"""Nodes of the `tag_check` pipeline."""

from __future__ import annotations

import logging

import numpy as np
from PIL import Image

from affinitynet.core.label_maps import Classes
from affinitynet.data.files import Partitions
from affinitynet.data.report import one_hot
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import CAM, TagCheck
from affinitynet.pipelines.per_image import NetworkWork, map_on_devices
from affinitynet.pipelines.training import initialise_classifier
from affinitynet.stages.tag_check import compare_classes, predict_out_of_fold

logger = logging.getLogger(__name__)

SURE = 0.9
"""Probability of the contrary from which on a tag is named in the log."""
ALIKE = 0.75
"""Two classes are hard to tell apart below this area under the ROC curve; by chance it is 0.5."""


def predict_tags(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    classes: Classes,
    cam: CAM,
    tag_check: TagCheck,
    seed: int,
    execution: Execution,
) -> pd.DataFrame:
    """Predict each photo's tags from the tags of other photos.

    One logistic regression per class learns from the pooled features of the backbone with
    its ImageNet weights. Each photo is predicted by one that has not seen it (K folds).

    Returns:
        By `id`: the probability of each class, of training and val photos.
    """
    from affinitynet.stages.cam import PhotoFeatures

    backbone = initialise_classifier(cam, classes, seed)
    work = NetworkWork(PhotoFeatures, backbone, tag_check.features, execution, "Checking the tags")
    features = dict(map_on_devices(work, index, photos))
    shown = one_hot(index, classes).loc[list(features)]
    found = predict_out_of_fold(
        np.array([*features.values()]), shown.to_numpy(), folds=tag_check.folds, seed=seed
    )
    return pd.DataFrame(found, shown.index, shown.columns).sort_index()


def check_tags(
    index: pd.DataFrame, probabilities: pd.DataFrame, classes: Classes
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the tags by how likely they are wrong, and the pairs of classes by how alike they look.

    Returns:
        One row a photo, by `id`, the most doubtful first: `doubt` in [0, 1], the probability of
        the contrary of the least likely of its tags, or of the likeliest class that it is not
        tagged with; that `class`; whether it is a tag (`tagged`); and its `tags`. And one row a
        pair of classes: `one`, `other`, `photos` that show just one of them, and `auc`, how well
        these are distinguished (1: always, 0.5: by chance).
    """
    names = [*classes]
    photos = index.loc[probabilities.index]
    shown, found = one_hot(photos, names).to_numpy(), probabilities[names].to_numpy(float)
    doubts = np.where(shown, 1 - found, found)
    rows, worst = np.arange(len(doubts)), doubts.argmax(axis=1)
    columns = {
        "doubt": doubts[rows, worst],
        "class": np.array(names, object)[worst],
        "tagged": shown[rows, worst],
        "tags": photos["tags"],
    }
    suspects = pd.DataFrame(columns, photos.index)
    suspects = suspects.sort_values("doubt", ascending=False, kind="stable")
    pairs = compare_classes(names, shown, found)
    if certain := int((suspects["doubt"] >= SURE).sum()):
        logger.warning(
            "The tags of %d photos may be wrong. tag_check/suspects.csv ranks them, the gallery "
            "shows the first.",
            certain,
        )
    for one, other, _, auc in pairs:
        if auc < ALIKE:
            logger.warning("%s and %s are hard to tell apart (AUC %.2f).", one, other, auc)
    return suspects, pd.DataFrame(pairs, columns=["one", "other", "photos", "auc"])
