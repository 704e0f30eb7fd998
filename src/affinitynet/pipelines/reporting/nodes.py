"""Nodes of the `reporting` pipeline: tables of the scores."""

from __future__ import annotations

from affinitynet.deferred import pandas as pd
from affinitynet.pipelines.scoring import Metrics


def tabulate(
    cam: Metrics, labels: Metrics, revision: Metrics, segmentation: Metrics, within: Metrics
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the stages' `metrics` side by side.

    Returns:
        The scores: `stage`, `images`, `score`, `value`. And the IoU by class: `class`, and a
        column for each stage that has one.
    """
    rows = [
        ("cam", "train", "mIoU", cam.get("miou")),
        ("affinity_labels", "train", "coverage", labels.get("coverage")),
        ("affinity_labels", "train", "accuracy", labels.get("accuracy")),
        ("revision", "train", "random walk mIoU", revision.get("random_walk_miou")),
        ("revision", "train", "pseudo label mIoU", revision.get("pseudo_label_miou")),
        ("segmentation", "val", "mIoU", segmentation.get("miou")),
        ("tagged_masks", "train", "mIoU within the tags", within.get("network_miou")),
    ]
    stages = pd.DataFrame(rows, columns=["stage", "images", "score", "value"]).dropna()
    scored = {"cam": cam, "revision": revision, "segmentation": segmentation}
    iou = pd.DataFrame({name: pd.Series(s.get("iou"), dtype=float) for name, s in scored.items()})
    return stages, iou.rename_axis("class").reset_index()
