"""How well label maps fit photos: Otsu's criterion, against other photos."""

import numpy as np
import pytest

from affinitynet.core.separation import Proposals, explained_variance, fit


def test_regions_explain_the_variance_between_them():
    features = np.zeros((2, 4, 6))
    features[0, :, :2], features[1, :, 4:] = 3, 1
    thirds = np.repeat([0, 1, 2], 2)[None].repeat(4, axis=0)
    nothing = np.zeros((4, 6), int)
    rows = np.arange(4)[:, None].repeat(6, axis=1)
    np.testing.assert_allclose(
        explained_variance(features, np.stack([thirds, nothing, rows])), [1, 0, 0], atol=1e-6
    )


def test_one_colour_has_nothing_to_explain():
    labels = np.eye(4, dtype=np.uint8)[None]
    assert explained_variance(np.ones((3, 4, 4)), labels).tolist() == [0]


@pytest.mark.parametrize("side", [4, 8, 14])
def test_the_object_s_own_region_fits_best(side):
    """Objects of any size, at different places of noisy photos of two shapes."""
    generator = np.random.default_rng(side)
    photos = []
    for i in range(12):
        height, width = (20, 24) if i % 2 else (24, 20)
        top, left = generator.integers(20 - side, size=2) + 1
        regions = []
        for margin in (-1, 0, 2, 4):
            region = np.zeros((height, width), np.uint8)
            inner = max(top - margin, 0), max(left - margin, 0)
            region[inner[0] : top + side + margin, inner[1] : left + side + margin] = 1
            regions.append(region)
        regions.append(np.indices((height, width))[0] < height / 2)
        features = 0.3 * generator.normal(size=(3, height, width)) + regions[1]
        photos.append(Proposals([features], np.stack(regions).astype(np.uint8)))
    assert fit(photos).argmax() == 1


def test_a_single_photo_has_no_others_to_compare_with():
    features = np.indices((4, 4))[:1].astype(float)
    labels = np.stack([np.zeros((4, 4)), features[0] > 1]).astype(np.uint8)
    assert fit([Proposals([features], labels)]).argmax() == 1
