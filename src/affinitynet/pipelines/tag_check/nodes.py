"""Nodes of the `tag_check` pipeline."""

import logging
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from affinitynet.data.files import Partitions
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import CAM, TagCheck
from affinitynet.pipelines.per_image import NetworkWork, map_on_devices
from affinitynet.pipelines.training import initialise_classifier

logger = logging.getLogger(__name__)

COMPONENTS = 128
"""Principal components of the features that the classifier sees: quick, and few photos suffice."""
SURE = 0.9
"""Probability of the contrary from which on a tag is named in the log."""
ALIKE = 0.75
"""Two classes are hard to tell apart below this area under the ROC curve; by chance it is 0.5."""


def predict_tags(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    classes: dict[str, int],
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
    shown = index["tags"].str.get_dummies("|").reindex(columns=list(classes), fill_value=0)
    shown = shown.loc[list(features)]
    found = predict_out_of_fold(
        np.array([*features.values()]), shown.to_numpy(bool), folds=tag_check.folds, seed=seed
    )
    return pd.DataFrame(found, shown.index, shown.columns).sort_index()


def predict_out_of_fold(
    features: npt.NDArray[np.floating], shown: npt.NDArray[np.bool_], *, folds: int, seed: int
) -> npt.NDArray[np.float64]:
    """Predict whether photos show classes, each photo without its own tags.

    Args:
        features: (N, C), of each photo.
        shown: (N, K), its tags.
        folds: At most as many as there are photos of a class, and of none of it.
        seed: Of the folds.

    Returns:
        (N, K) probabilities; the tags themselves for a class that one photo, or all but one, show.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features)
    components = PCA(min(COMPONENTS, *scaled.shape), random_state=seed).fit_transform(scaled)
    # so that the penalty means the same whatever the backbone's channels
    components *= np.sqrt(COMPONENTS / max(np.square(components).sum(axis=1).mean(), 1e-9))
    found = shown.astype(float)
    for label, own in enumerate(shown.T):
        parts = min(folds, own.sum(), (~own).sum())
        if parts < 2:
            continue
        split = StratifiedKFold(parts, shuffle=True, random_state=seed)
        model = LogisticRegression(C=0.01, max_iter=1000)
        both = cross_val_predict(model, components, own, cv=split, method="predict_proba")
        found[:, label] = both[:, 1]
    return found


def check_tags(
    index: pd.DataFrame, probabilities: pd.DataFrame, classes: dict[str, int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank the tags by how likely they are wrong, and the pairs of classes by how alike they look.

    Args:
        index: The images of the data set.
        probabilities: From `predict_tags`.
        classes: Class name to mask value.

    Returns:
        One row a photo, by `id`, the most doubtful first: `doubt` in [0, 1], the probability of
        the contrary of the least likely of its tags, or of the likeliest class that it is not
        tagged with; that `class`; whether it is a tag (`tagged`); and its `tags`. And one row a
        pair of classes: `one`, `other`, `photos` that show just one of them, and `auc`, how well
        these are distinguished (1: always, 0.5: by chance).
    """
    names = [*classes]
    tags = index.loc[probabilities.index, "tags"]
    shown = tags.str.get_dummies("|").reindex(columns=names, fill_value=0).to_numpy(bool)
    found = probabilities[names].to_numpy(float)
    doubts = np.where(shown, 1 - found, found)
    worst = doubts.argmax(axis=1)
    rows = np.arange(len(doubts))
    suspects = pd.DataFrame(
        {
            "doubt": doubts[rows, worst],
            "class": np.array(names, object)[worst],
            "tagged": shown[rows, worst],
            "tags": tags,
        },
        probabilities.index,
    ).sort_values("doubt", ascending=False, kind="stable")
    confusable = _compare_classes(names, shown, found)
    if certain := int((suspects["doubt"] >= SURE).sum()):
        logger.warning(
            "The tags of %d photos may be wrong. tag_check/suspects.csv ranks them, the gallery "
            "shows the first.",
            certain,
        )
    for one, other, _, auc in confusable[confusable["auc"] < ALIKE].itertuples(index=False):
        logger.warning("%s and %s are hard to tell apart (AUC %.2f).", one, other, auc)
    return suspects, confusable


def _compare_classes(
    names: list[str], shown: npt.NDArray[np.bool_], found: npt.NDArray[np.float64]
) -> pd.DataFrame:
    from sklearn.metrics import roc_auc_score

    pairs = []
    for one, other in combinations(range(len(names)), 2):
        apart = shown[:, one] != shown[:, other]
        truth = shown[apart, one]
        if truth.any() and not truth.all():
            scores = found[apart, one] - found[apart, other]
            auc = float(roc_auc_score(truth, scores))
            pairs.append((names[one], names[other], int(apart.sum()), auc))
    table = pd.DataFrame(pairs, columns=["one", "other", "photos", "auc"])
    return table.sort_values("auc", kind="stable")
