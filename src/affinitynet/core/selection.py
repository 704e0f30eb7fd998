"""The choice among settings by few photos that have masks, cross-validated."""

from dataclasses import dataclass

import numpy as np

from affinitynet.core.metrics import Counts, mean_iou_of_counts


@dataclass(frozen=True)
class Selection:
    """A setting that was chosen by masks.

    Attributes:
        setting: Its number; 0, the present one, where choosing does not pay.
        miou: Of settings that were each chosen on other photos than they are scored on.
        present_miou: Of the present one.
    """

    setting: int
    miou: float
    present_miou: float


def select_setting(counts: Counts, *, folds: int) -> Selection:
    """Select the setting of the highest mIoU, if choosing by mIoU pays on photos left out.

    Args:
        counts: (photos, settings, 3, K), from `class_counts`. The first setting is the present one.
        folds: Parts that the photos are divided into: each part is scored at the setting that the
            others choose.
    """
    part = np.arange(len(counts)) % folds
    left_out = [counts[part == n, _best_of(counts[part != n])].sum(axis=0) for n in np.unique(part)]
    miou = float(mean_iou_of_counts(sum(left_out)))
    present = float(mean_iou_of_counts(counts[:, 0].sum(axis=0)))
    return Selection(_best_of(counts) if miou > present else 0, miou, present)


def _best_of(counts: Counts) -> int:
    return int(mean_iou_of_counts(counts.sum(axis=0)).argmax())
