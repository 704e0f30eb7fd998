"""The search for wrong tags: what the other photos' tags let one expect of a photo."""

from itertools import combinations

import numpy as np
import numpy.typing as npt

COMPONENTS = 128
"""Principal components of the features that the classifier sees: quick, and few photos suffice."""

Tags = npt.NDArray[np.bool_]


def predict_out_of_fold(
    features: npt.NDArray[np.floating], shown: Tags, *, folds: int, seed: int
) -> npt.NDArray[np.float64]:
    """Predict whether photos show classes, each photo without its own tags.

    Args:
        features: (N, C), of each photo.
        shown: (N, K), its tags.
        folds: At most as many as there are photos of a class, and of none of it.

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


def compare_classes(
    names: list[str], shown: Tags, found: npt.NDArray[np.float64]
) -> list[tuple[str, str, int, float]]:
    """Measure how well each two classes are distinguished on the photos that show just one.

    Args:
        names: The K classes.
        shown: (N, K), the photos' tags.
        found: (N, K), from `predict_out_of_fold`.

    Returns:
        Both names, the number of these photos, and the area under the ROC curve; the least
        distinguished first.
    """
    from sklearn.metrics import roc_auc_score

    pairs = []
    for one, other in combinations(range(len(names)), 2):
        apart = shown[:, one] != shown[:, other]
        truth = shown[apart, one]
        if truth.any() and not truth.all():
            auc = float(roc_auc_score(truth, found[apart, one] - found[apart, other]))
            pairs.append((names[one], names[other], int(apart.sum()), auc))
    return sorted(pairs, key=lambda pair: pair[-1])
