"""Choosing a setting by few masks."""

import numpy as np
import pytest

from affinitynet.core.selection import select_setting


def counts_of(iou):
    """Counts of two classes that give each photo and setting an IoU: (photos, settings, 3, 2)."""
    right = np.round(np.asarray(iou) * 1000).astype(np.int64)
    kinds = np.stack([right, np.full_like(right, 1000), right], axis=-1)
    return np.stack([kinds, kinds], axis=-1)


def test_a_setting_that_is_better_everywhere_is_chosen():
    found = select_setting(counts_of([[0.5, 0.4, 0.6]] * 10), folds=5)
    assert found.setting == 2
    assert found.miou == pytest.approx(0.6)
    assert found.present_miou == pytest.approx(0.5)


def test_the_present_setting_stays_where_choosing_fails_on_photos_left_out():
    """Each part's photos like another setting best, and the others' least."""
    iou = np.full((5, 6), 0.3)
    iou[:, 0] = 0.5
    iou[range(5), range(1, 6)] = 1.0
    iou[0, 1] = 0.99  # no tie
    assert iou[:, 1:].mean() < 0.5
    assert select_setting(counts_of(iou), folds=5).setting == 0


def test_one_lucky_photo_does_not_decide():
    iou = np.full((10, 2), 0.5)
    iou[:, 1] = 0.48
    iou[3, 1] = 0.9  # better in the sum, worse on all parts but its own
    assert counts_of(iou)[:, 1, 0, 0].sum() > counts_of(iou)[:, 0, 0, 0].sum()
    found = select_setting(counts_of(iou), folds=5)
    assert found.setting == 0
    assert found.miou < found.present_miou


def test_of_equals_the_present_setting_is_chosen():
    assert select_setting(counts_of(np.full((10, 4), 0.7)), folds=2).setting == 0


def test_fewer_photos_than_parts():
    assert select_setting(counts_of([[0.5, 0.6]] * 3), folds=5).setting == 1
