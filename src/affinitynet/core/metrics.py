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


def class_counts(confusion: npt.ArrayLike) -> Counts:
    """Keep what IoU needs of a confusion matrix: linear in the number of classes.

    Args:
        confusion: (…, K, K) counts.

    Returns:
        (…, 3, K) pixels of each class: intersection, truth, prediction.
    """
    counts = np.asarray(confusion)
    intersection = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.stack([intersection, counts.sum(axis=-1), counts.sum(axis=-2)], axis=-2)


def iou_of_counts(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute each class's IoU.

    Args:
        counts: (…, 3, K), from `class_counts`.

    Returns:
        (…, K) in [0, 1]; NaN for a class that neither truth nor prediction has.
    """
    intersection, truth, prediction = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    union = truth + prediction - intersection
    iou: npt.NDArray[np.float64] = np.full_like(union, np.nan)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


def mean_iou_of_counts(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average the IoU of the classes that truth or prediction has.

    Args:
        counts: (…, 3, K), from `class_counts`.

    Returns:
        (…,) in [0, 1]; NaN where no pixel was counted.
    """
    iou = iou_of_counts(counts)
    classes = (~np.isnan(iou)).sum(axis=-1)
    mean: npt.NDArray[np.float64] = np.full(classes.shape, np.nan)
    np.divide(np.nansum(iou, axis=-1), classes, out=mean, where=classes > 0)
    return mean


def intersection_over_union(confusion: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute each class's IoU from a confusion matrix (…, K, K), see `iou_of_counts`."""
    return iou_of_counts(class_counts(confusion))


def mean_iou(confusion: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average the classes' IoU from a confusion matrix (…, K, K), see `mean_iou_of_counts`."""
    return mean_iou_of_counts(class_counts(confusion))
