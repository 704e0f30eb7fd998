import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.metrics import confusion_matrix
from affinitynet.execution import Execution
from affinitynet.pipelines.images import upsample
from affinitynet.pipelines.scoring import (
    count,
    count_labels,
    count_maps,
    count_thresholds,
    summarise,
)

VALUES = [8, 12, 15]


def stored(rng, labels, background=False):
    return {
        "labels": np.array(labels, np.uint8),
        "maps": rng.random((len(labels), 4, 5)).astype(np.float16),
    }


@given(st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_counting_at_all_thresholds_equals_thresholding_one_by_one(seed):
    rng = np.random.default_rng(seed)
    cams = stored(rng, [1, 3])
    truth = rng.choice([0, 1, 2, 3, 255], (9, 11)).astype(np.uint8)
    thresholds = np.array([0.2, 0.5, 0.8])
    counts = count_thresholds(cams, truth, VALUES, thresholds=thresholds)
    maps = upsample(cams["maps"], truth.shape)
    for threshold, found in zip(thresholds, counts, strict=True):
        prediction = np.where(maps.max(axis=0) > threshold, cams["labels"][maps.argmax(axis=0)], 0)
        expected = confusion_matrix(truth, prediction, num_classes=4)
        np.testing.assert_array_equal(found, expected)


def test_maps_are_scored_by_their_argmax_at_the_masks_size():
    maps = np.array([[[0.9, 0.1]], [[0.1, 0.9]]], np.float16)
    truth = np.array([[0, 0, 2, 2]] * 2, np.uint8)
    found = count_maps({"labels": np.array([0, 2], np.uint8), "maps": maps}, truth, VALUES)
    assert found[0, 0] == 4
    assert found[2, 2] == 4


def test_label_maps_of_another_size_are_resized():
    truth = np.array([[1, 1, 0, 0]] * 4, np.uint8)
    assert count_labels(np.array([[8, 0]] * 2, np.uint8), truth, VALUES).trace() == 16


def test_images_without_a_mask_do_not_count():
    truth = np.array([[8, 0]], np.uint8)
    counts = count(
        count_labels,
        {"a": lambda: truth, "b": lambda: 1 / 0},
        {"a": lambda: truth},
        {"cat": 8, "dog": 12},
        Execution(workers=1),
        "",
    )
    scores = summarise(counts, {"cat": 8, "dog": 12})
    assert scores == {"miou": 1.0, "iou": {"background": 1.0, "cat": 1.0}}


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="none of the images has a mask"):
        count(count_labels, {"a": None}, {}, {"cat": 8}, Execution(workers=1), "")
