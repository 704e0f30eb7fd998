import pickle
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import upsample
from affinitynet.core.metrics import class_counts
from affinitynet.execution import Execution
from affinitynet.pipelines.scoring import (
    confusion_at,
    count,
    count_labels,
    count_maps,
    count_thresholds,
    summarise,
    tabulate_confusion,
    tabulate_images,
    threshold_counts,
)

VALUES = [8, 12, 15]


@st.composite
def scored_images(draw):
    """CAMs of some classes, and a truth of another size; values often on a threshold."""
    labels = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3, unique=True))
    size = st.integers(1, 6)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(labels), draw(size), draw(size))
    maps = rng.choice([0, 0.25, 0.5, 0.7, 1], shape) if draw(st.booleans()) else rng.random(shape)
    truth = rng.choice([0, 1, 2, 3, 255], (draw(size), draw(size))).astype(np.uint8)
    return ClassMaps(np.array(labels, np.uint8), maps.astype(np.float16)), truth


@given(scored_images(), st.sets(st.sampled_from([0.1, 0.25, 0.5, 0.7, 0.9]), min_size=1))
@settings(max_examples=100, deadline=None)
def test_counting_at_all_thresholds_equals_thresholding_one_by_one(image, thresholds):
    cams, truth = image
    thresholds = np.array(sorted(thresholds))
    joint = count_thresholds(cams, truth, VALUES, thresholds=thresholds)
    sums = threshold_counts(joint + joint, 4)
    maps = upsample(cams.maps, truth.shape)
    for number, threshold in enumerate(thresholds):
        expected = np.zeros((4, 4), int)
        for y, x in np.ndindex(truth.shape):
            scores = maps[:, y, x]
            label = cams.labels[scores.argmax()] if scores.max() > threshold else 0
            if truth[y, x] != 255:
                expected[truth[y, x], label] += 1
        np.testing.assert_array_equal(confusion_at(joint, number, 4), expected)
        np.testing.assert_array_equal(sums[number], 2 * class_counts(expected))


def test_counts_of_many_thresholds_and_classes_are_small():
    """At 254 classes, 100 thresholds, dense counts would take 52 MB a photo."""
    rng = np.random.default_rng(0)
    cams = ClassMaps(np.array([1, 9, 254], np.uint8), rng.random((3, 32, 32)))
    truth = rng.choice([0, 1, 9, 200, 255], (256, 256)).astype(np.uint8)
    tracemalloc.start()
    joint = count_thresholds(cams, truth, [*range(1, 255)], thresholds=np.linspace(0.01, 0.99, 100))
    counts = threshold_counts(joint + joint, 255)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6
    assert counts.shape == (100, 3, 255)
    assert len(pickle.dumps(joint)) < 50_000


def test_maps_are_scored_by_their_argmax_at_the_masks_size():
    maps = np.array([[[0.9, 0.1]], [[0.1, 0.9]]], np.float16)
    truth = np.array([[0, 0, 2, 2]] * 2, np.uint8)
    found = count_maps(ClassMaps(np.array([0, 2], np.uint8), maps), truth, VALUES)
    assert found[0, 0] == 4
    assert found[2, 2] == 4


def test_label_maps_of_another_size_are_resized():
    truth = np.array([[1, 1, 0, 0]] * 4, np.uint8)
    assert count_labels(np.array([[8, 0]] * 2, np.uint8), truth, VALUES).trace() == 16


def test_images_without_a_mask_do_not_count():
    truth = np.array([[8, 0]], np.uint8)
    counts, images = count(
        count_labels,
        {"a": lambda: truth, "b": lambda: 1 / 0},
        {"a": lambda: truth},
        {"cat": 8, "dog": 12},
        Execution(workers=1),
        "",
    )
    scores = summarise(counts, {"cat": 8, "dog": 12})
    assert scores == {"miou": 1.0, "iou": {"background": 1.0, "cat": 1.0}}
    assert images == {"a": 1.0}


def test_an_image_whose_mask_is_void_has_no_score():
    void = np.full((2, 2), 255, np.uint8)
    _, images = count(
        count_labels, {"a": lambda: void}, {"a": lambda: void}, {"cat": 8}, Execution(workers=1), ""
    )
    assert np.isnan(images["a"])


def test_confusion_counts_are_tabulated_by_name():
    counts = np.array([[5, 1, 2], [0, 3, 4]])
    table = tabulate_confusion({"labels": counts}, {"cat": 8})
    cells = table.set_index(["step", "truth", "prediction"])["pixels"]
    assert cells["labels", "background", "neutral"] == 2
    assert cells["labels", "cat", "cat"] == 3
    assert len(cells) == 6


def test_no_images_give_an_empty_table_of_numbers():
    table = tabulate_images({}, ["coverage", "accuracy"])
    assert [*table.columns] == ["coverage", "accuracy"]
    assert table.to_numpy().dtype == np.float64


def test_without_masks_there_are_no_scores():
    counts, images = count(
        count_labels,
        {"a": lambda: np.array([[8, 0]], np.uint8)},
        {},
        {"cat": 8},
        Execution(workers=1),
        "",
    )
    assert counts.shape == (2, 2)
    assert not counts.any()
    assert not images
    assert summarise(counts, {"cat": 8}) == {}
