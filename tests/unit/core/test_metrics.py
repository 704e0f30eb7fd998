import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.metrics import (
    class_counts,
    confusion_matrix,
    intersection_over_union,
    mean_iou,
    mean_iou_of_counts,
)

labels = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 255]), st.integers(0, 3)), min_size=1)


@given(labels)
@settings(deadline=None)
def test_iou_is_that_of_the_definition(pixels):
    truth, prediction = np.array(pixels).T
    counted = [(t, p) for t, p in pixels if t != 255]
    iou = intersection_over_union(confusion_matrix(truth, prediction, num_classes=4))
    for label in range(4):
        both = sum(t == label and p == label for t, p in counted)
        either = sum(label in (t, p) for t, p in counted)
        assert iou[label] == pytest.approx(both / either if either else np.nan, nan_ok=True)


def test_absent_classes_are_left_out_of_the_mean():
    confusion = confusion_matrix([0, 0, 1, 1], [0, 0, 1, 0], num_classes=5)
    assert mean_iou(confusion) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_rows_are_the_truth():
    assert confusion_matrix([0], [1], num_classes=2).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(("truth", "prediction"), [([4], [0]), ([0], [4]), ([0], [255])])
def test_labels_out_of_range_are_named(truth, prediction):
    with pytest.raises(ValueError, match=r"label (4|255), which is not in 0 … 3"):
        confusion_matrix(truth, prediction, num_classes=4)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix([0, 1], [0], num_classes=2)


@given(st.lists(labels, min_size=1, max_size=3))
@settings(deadline=None)
def test_counts_of_classes_are_enough_for_iou(images):
    confusions = [confusion_matrix(*np.array(pixels).T, num_classes=4) for pixels in images]
    summed = sum(class_counts(confusion) for confusion in confusions)
    assert summed.shape == (3, 4)
    np.testing.assert_allclose(mean_iou_of_counts(summed), mean_iou(sum(confusions)))
