"""Masks of all tagged photos: from the better source, at the photos' size, with a quality."""

import numpy as np
import pandas as pd
import pytest

from affinitynet.core.class_maps import ClassMaps
from affinitynet.data.corrections import Corrected
from affinitynet.execution import Execution
from affinitynet.pipelines.tagged_masks.nodes import (
    choose_source,
    compare_sources,
    draw_masks,
    estimate_quality,
    expected_iou,
)

CLASSES = {"cat": 8, "dog": 12}
ALONE = Execution(workers=1)
NONE = Corrected()
INDEX = pd.DataFrame(
    {"split": ["train", "val"], "height": [48, 40], "width": [64, 80], "tags": ["dog", "cat"]},
    pd.Index(["a", "b"], name="id"),
)


def halves(label, sure=0.9):
    """Maps of background on the left, and of an object that fills the right half."""
    scores = np.full((2, 6, 8), 1 - sure, np.float16)
    scores[0, :, :4] = scores[1, :, 4:] = sure
    return ClassMaps(np.array([0, label], np.uint8), scores)


MAPS = {"a": lambda: halves(2), "b": lambda: halves(1)}
LABELS = {
    "a": lambda: np.repeat(np.uint8([[0] * 4 + [12] * 4]), 6, axis=0),
    "b": lambda: np.repeat(np.uint8([[0] * 4 + [8] * 4]), 5, axis=0),
}
PSEUDO_LABELS = {"a": lambda: np.repeat(np.uint8([[12, 0, 0, 0]]), 3, axis=0)}


def draw(metrics, source="network", corrected=NONE):
    chosen = choose_source(metrics, source)
    done = draw_masks(INDEX, LABELS, PSEUDO_LABELS, corrected, CLASSES, chosen, ALONE)
    return {image_id: mask for chunk in done for image_id, mask in chunk.items()}


def test_masks_have_the_photos_size_and_the_data_set_s_values():
    masks = draw({})
    assert {i: mask.shape for i, mask in masks.items()} == {"a": (48, 64), "b": (40, 80)}
    np.testing.assert_array_equal(np.unique(masks["a"][:, :31]), [0])
    np.testing.assert_array_equal(np.unique(masks["a"][:, 33:]), [12])
    np.testing.assert_array_equal(np.unique(masks["b"]), [0, 8])


def test_a_training_photo_has_its_pseudo_label_where_that_is_better():
    better = draw({"network_miou": 0.4, "pseudo_labels_miou": 0.5}, "auto")
    np.testing.assert_array_equal(better["a"][:, :15], 12)
    np.testing.assert_array_equal(better["a"][:, 17:], 0)
    np.testing.assert_array_equal(better["b"], draw({})["b"])  # val has none
    np.testing.assert_array_equal(draw({}, "pseudo_labels")["a"], better["a"])


def test_corrected_masks_stay_as_they_are_and_are_not_doubted():
    mine = np.full((48, 64), 8, np.uint8)
    mine[:10], mine[10:20] = 0, 255
    corrected = Corrected({"a": lambda: mine})
    masks = draw({}, corrected=corrected)
    np.testing.assert_array_equal(masks["a"], mine)
    read = {i: lambda mask=mask: mask for i, mask in masks.items()}
    found = estimate_quality(INDEX, read, MAPS, {}, corrected, CLASSES, ALONE)
    assert found.index.tolist() == ["b"]
    assert compare(read, corrected)[0] == {}


def compare(masks, corrected=NONE):
    return compare_sources(INDEX, LABELS, PSEUDO_LABELS, masks, corrected, CLASSES, ALONE)


@pytest.mark.parametrize(
    ("metrics", "source", "chosen"),
    [
        ({}, "auto", "network"),
        ({}, "pseudo_labels", "pseudo_labels"),
        ({"network_miou": 0.5, "pseudo_labels_miou": 0.4}, "auto", "network"),
        ({"network_miou": 0.5, "pseudo_labels_miou": 0.4}, "pseudo_labels", "pseudo_labels"),
        ({"network_miou": 0.4, "pseudo_labels_miou": 0.5}, "auto", "pseudo_labels"),
    ],
)
def test_the_better_source_is_taken(metrics, source, chosen):
    assert choose_source(metrics, source) == chosen


def test_sources_are_compared_on_the_same_photos():
    truth = {"a": lambda: draw({})["a"], "b": lambda: np.zeros((40, 80), np.uint8)}
    metrics, _, images = compare(truth)
    assert metrics["network_miou"] == 1 > metrics["pseudo_labels_miou"]
    assert images.index.tolist() == ["a"]
    assert compare({})[0] == {}


def estimate(maps, walked):
    masks = {i: lambda mask=mask: mask for i, mask in draw({}).items()}
    return estimate_quality(INDEX, masks, maps, walked, NONE, CLASSES, ALONE)


def test_quality_falls_with_doubt_and_disagreement():
    sure = estimate(MAPS, {})
    unsure = estimate(MAPS | {"b": lambda: halves(1, sure=0.6)}, {})
    assert unsure.loc["b", "quality"] < sure.loc["b", "quality"] < 1
    assert unsure.index.tolist() == ["b", "a"]  # the doubtful first
    assert sure["object"].to_dict() == {"a": "dog", "b": "cat"}
    mirrored = ClassMaps(np.array([0, 2], np.uint8), halves(2).maps[::-1])
    disputed = estimate(MAPS, {"a": lambda: mirrored})
    assert disputed.index.tolist() == ["a", "b"]
    assert disputed.loc["a", "walk"] < 0.2 < disputed.loc["a", "network"]
    assert disputed.loc["a", "quality"] == disputed.loc["a", ["walk", "network"]].mean()


def test_classes_of_small_objects_are_named(caplog):
    corner = np.zeros((40, 80), np.uint8)
    corner[:, 40:], corner[:8, :8] = 8, 12  # halves of 24 cells
    masks = LABELS | {"a": lambda: np.where(corner == 12, 12, 0), "b": lambda: corner}
    found = estimate_quality(INDEX, masks, MAPS, {}, NONE, CLASSES, ALONE)
    assert found["cells"].round().to_dict() == {"a": 1, "b": 24}
    assert "cover less than 32 cells of the network's grid: dog (1), cat (24)." in caplog.text
    caplog.clear()
    large = {"a": lambda: np.full((48, 64), 12, np.uint8)}
    estimate_quality(INDEX, large, MAPS, {}, NONE, CLASSES, ALONE)
    estimate_quality(INDEX[:0], {}, {}, {}, NONE, CLASSES, ALONE)
    assert not caplog.records


def test_the_expected_iou_of_sure_probabilities_is_the_iou():
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 2:] = 2
    assert expected_iou(mask, halves(2, sure=1.0))[2] == pytest.approx(4 / 6)
    assert expected_iou(np.zeros((6, 8), np.uint8), halves(2))[2] == 0


def test_a_tag_that_no_mask_shows_has_no_quality():
    nothing = ClassMaps(np.array([0, 1], np.uint8), np.stack([np.ones((6, 8)), np.zeros((6, 8))]))
    empty = {"b": lambda: np.zeros((40, 80), np.uint8)}
    found = estimate_quality(INDEX, empty, {"b": lambda: nothing}, {}, NONE, CLASSES, ALONE)
    assert found["quality"].tolist() == [0]
