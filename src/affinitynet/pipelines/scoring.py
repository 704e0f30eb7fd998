"""Scores of label maps against the data set's masks: the only nodes that read masks.

Every stage is scored in the same way: at the masks' own size, one confusion matrix over all
images, IoU from its counts. Pixels that the masks leave void, or give to a class that is not
learned, do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels, upsample
from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap, decode
from affinitynet.core.metrics import confusion_matrix, intersection_over_union, mean_iou
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipelines.per_image import map_items

Counts = npt.NDArray[np.int64]
Metrics = dict[str, float | dict[str, float]]
"""Scores of a stage by name; those of single classes by class."""
NEUTRAL = "neutral"
"""Name of pixels without a label."""


def count(
    predict: Callable[..., Any],
    items: Partitions[Any],
    masks: Partitions[LabelMap],
    classes: Classes,
    execution: Execution,
    description: str,
    score: Callable[[Any], Any] = mean_iou,
) -> tuple[Any, dict[str, Any]]:
    """Sum the confusion counts of all images that have a mask, and score each of them.

    Without any masks the counts are zeros, and no image has a score.

    Args:
        predict: Maps (what `items` reads, the truth (H, W), the mask values) to counts, a dense
            or sparse array.
        items: The scored results.
        masks: Of each image, where there are any.
        score: Maps the counts of one image to its score, or scores.

    Returns:
        The summed counts, and image id to the image's own score.

    Raises:
        UserError: If there is no image at all.
    """
    ids = [image_id for image_id in items if image_id in masks]
    scored = {*ids}
    if not ids:  # a void mask counts nothing, in an array of the right shape
        ids = [*items][:1]
        masks = dict.fromkeys(ids, partial(np.full, (1, 1), IGNORE_INDEX, np.uint8))
    values = list(classes.values())
    total, scores = None, {}
    given = [(i, items[i], masks[i]) for i in ids]
    do = partial(_count_one, predict, values)
    for image_id, counts in map_items(do, given, execution, description, skip=True):
        total = counts if total is None else total + counts
        if image_id in scored:
            scores[image_id] = score(counts)
    if total is None:
        raise UserError(f"{description}: nothing is left of the images, all were skipped.")
    return total, scores


def _count_one(
    predict: Callable[..., Any],
    values: list[int],
    read: Callable[[], Any],
    read_mask: Callable[[], npt.NDArray[np.uint8]],
) -> Any:
    return predict(read(), decode(read_mask(), values), values)


def count_labels(
    mask: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], values: list[int]
) -> Counts:
    """Count a stored label map, resized to the truth's size: (K + 1, K + 1)."""
    labels = resize_labels(decode(mask, values), truth.shape)
    return confusion_matrix(truth, labels, num_classes=len(values) + 1)


def count_maps(stored: ClassMaps, truth: npt.NDArray[np.uint8], values: list[int]) -> Counts:
    """Count the argmax of stored score maps, upsampled to the truth's size: (K + 1, K + 1)."""
    best = stored.argmax((truth.shape[0], truth.shape[1]))
    return confusion_matrix(truth, best, num_classes=len(values) + 1)


def count_thresholds(
    stored: ClassMaps,
    truth: npt.NDArray[np.uint8],
    values: list[int],
    *,
    thresholds: npt.NDArray[np.float64],
) -> scipy.sparse.csr_array:
    """Count CAMs at every background threshold at once.

    At a threshold a pixel is background if no CAM exceeds it, else of the highest CAM's class.

    Returns:
        (T + 1, (K + 1)²) pixels by the number of thresholds that they exceed, and by truth and
        highest CAM. Sparse, as a photo shows few of the classes.
    """
    cams = upsample(stored.maps, (truth.shape[0], truth.shape[1]))
    classes = stored.labels[cams.argmax(axis=0)]
    bins = np.digitize(cams.max(axis=0), thresholds, right=True)
    size = len(values) + 1
    valid = truth != IGNORE_INDEX
    pairs = truth[valid].astype(np.int64) * size + classes[valid]
    shape = (len(thresholds) + 1, size**2)
    joint = scipy.sparse.coo_array((np.ones(len(pairs), np.int64), (bins[valid], pairs)), shape)
    return scipy.sparse.csr_array(joint)


def threshold_counts(joint: scipy.sparse.csr_array, num_classes: int) -> Counts:
    """Turn the counts of `count_thresholds` into those that IoU needs: (T, 3, K + 1).

    Args:
        joint: From `count_thresholds`.
        num_classes: K + 1, background included.
    """
    cells = joint.tocoo()
    bins, pixels = cells.row, cells.data
    truth, classes = np.divmod(cells.col, num_classes)
    right = truth == classes
    lost = truth == 0

    def above(labels: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> Counts:
        table = np.zeros((joint.shape[0], num_classes), np.int64)
        np.add.at(table, (bins[chosen], labels[chosen]), pixels[chosen])
        return table[::-1].cumsum(axis=0)[::-1]  # pixels that exceed at least so many thresholds

    everything = np.ones(len(pixels), bool)
    shown, true = above(classes, everything), above(truth, everything)
    intersection, prediction = above(classes, right)[1:], shown[1:]
    intersection[:, 0] += true[0, 0] - above(classes, lost)[1:].sum(axis=1)
    prediction[:, 0] += pixels.sum() - prediction.sum(axis=1)
    return np.stack([intersection, np.broadcast_to(true[0], prediction.shape), prediction], axis=1)


def confusion_at(joint: scipy.sparse.csr_array, threshold: int, num_classes: int) -> Counts:
    """Return the confusion counts (K + 1, K + 1) at a threshold, by its number."""
    above = np.asarray(joint[threshold + 1 :].sum(axis=0)).reshape(num_classes, num_classes)
    below = np.asarray(joint[: threshold + 1].sum(axis=0)).reshape(num_classes, num_classes)
    counts: Counts = above.astype(np.int64)
    counts[:, 0] += below.sum(axis=1)
    return counts


def summarise(confusion: Counts, classes: Classes) -> Metrics:
    """Turn counts into the scores of a stage.

    Returns:
        `miou`, and `iou` by class (background first); a class that neither truth nor prediction
        has is left out of both. Nothing at all if no pixel was counted.
    """
    if not confusion.any():
        return {}
    values = zip(["background", *classes], intersection_over_union(confusion), strict=True)
    iou = {name: float(value) for name, value in values if not np.isnan(value)}
    return {"miou": float(mean_iou(confusion)), "iou": iou}


def tabulate_confusion(counts: Mapping[str, Counts], classes: Classes) -> pd.DataFrame:
    """Lay confusion counts out as a table.

    Args:
        counts: Step to its counts (K + 1, K + 1), rows by truth; a further column, if there is
            one, is of pixels without a label.

    Returns:
        One row a cell: `step`, `truth`, `prediction` (class names, `background`, `neutral`) and
        `pixels`.
    """
    names = ["background", *classes]
    rows = [
        (step, truth, prediction, int(pixels))
        for step, confusion in counts.items()
        for truth, line in zip(names, confusion, strict=True)
        for prediction, pixels in zip([*names, NEUTRAL], line, strict=False)
    ]
    return pd.DataFrame(rows, columns=["step", "truth", "prediction", "pixels"])


def tabulate_images(scores: Mapping[str, Any], columns: Sequence[str]) -> pd.DataFrame:
    """Lay the images' own scores out as a table: one row per image, by its `id`."""
    values = np.reshape(list(scores.values()), (-1, len(columns))).astype(float)
    return pd.DataFrame(values, pd.Index(list(scores), name="id"), list(columns))
