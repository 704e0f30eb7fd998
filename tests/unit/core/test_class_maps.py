"""Score maps of an image's classes."""

import numpy as np
import pytest

from affinitynet.core.class_maps import ClassMaps

CAMS = ClassMaps(np.array([3, 7], np.uint8), np.array([[[1, 0.25]], [[0, 0.5]]], np.float16))


def test_the_background_comes_first():
    found = CAMS.resize((1, 2)).with_background(2.0)
    assert found.labels.tolist() == [0, 3, 7]
    assert found.labels.dtype == np.uint8
    np.testing.assert_allclose(found.maps[0], [[0, 0.25]])  # (1 - max)^alpha
    np.testing.assert_allclose(found.maps[1:], CAMS.maps)


def test_argmax_gives_labels_at_any_size():
    assert CAMS.argmax((1, 2)).tolist() == [[3, 7]]
    assert CAMS.argmax((2, 4)).shape == (2, 4)


def test_pixels_without_a_map_stay_unlabelled():
    assert CAMS.name(np.array([[0, 1, 255]])).tolist() == [[3, 7, 255]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_found(value):
    assert CAMS.is_finite()
    assert not ClassMaps(CAMS.labels, CAMS.maps * np.float16(value)).is_finite()
