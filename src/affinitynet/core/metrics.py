"""Scores of label maps: counts first, reductions after, for every stage the same."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def confusion_matrix(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, *, num_classes: int, ignore_index: int = 255
) -> Counts:
    """Count pixels by true and predicted label.

    Args:
        truth: Labels of any shape; pixels with `ignore_index` do not count.
        prediction: Labels of the same shape.
        num_classes: Labels are 0 … num_classes - 1.
        ignore_index: Label of pixels that do not count.

    Returns:
        (num_classes, num_classes) counts, rows by truth.

    Raises:
        ValueError: If the shapes differ or a counted label is out of range.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}.")
    counted = truth != ignore_index
    rows = truth[counted].astype(np.int64)
    columns = prediction[counted].astype(np.int64)
    for name, labels in (("truth", rows), ("prediction", columns)):
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if wrong.size:
            raise ValueError(f"{name} has label {wrong[0]}, which is not in 0 … {num_classes - 1}.")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def intersection_over_union(confusion: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute each class's IoU.

    Args:
        confusion: (…, K, K) counts.

    Returns:
        (…, K) in [0, 1]; NaN for a class that neither truth nor prediction has.
    """
    counts = np.asarray(confusion, np.float64)
    intersection = np.diagonal(counts, axis1=-2, axis2=-1)
    union = counts.sum(axis=-2) + counts.sum(axis=-1) - intersection
    iou: npt.NDArray[np.float64] = np.full_like(union, np.nan)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def mean_iou(confusion: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average the IoU of the classes that truth or prediction has.

    Args:
        confusion: (…, K, K) counts.

    Returns:
        (…,) in [0, 1]; NaN where no pixel was counted.
    """
    iou = intersection_over_union(confusion)
    classes = (~np.isnan(iou)).sum(axis=-1)
    mean: npt.NDArray[np.float64] = np.full(classes.shape, np.nan)
    np.divide(np.nansum(iou, axis=-1), classes, out=mean, where=classes > 0)
    return mean
