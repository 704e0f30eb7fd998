"""How well label maps divide a photo: Otsu's criterion."""

import numpy as np
import pytest

from affinitynet.core.separation import explained_variance


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


@pytest.mark.parametrize("side", [6, 10, 14])
def test_the_object_s_own_region_explains_most(side):
    """Of a noisy photo: not a larger or smaller one, nor half of the photo."""
    regions = [np.zeros((20, 24), np.uint8) for _ in range(4)]
    for region, margin in zip(regions, (0, -2, 2, 4), strict=True):
        region[4 - margin : 4 + side + margin, 5 - margin : 5 + side + margin] = 1
    regions.append((np.indices((20, 24))[0] < 10).astype(np.uint8))
    noise = 0.3 * np.random.default_rng(side).normal(size=(3, 20, 24))
    assert explained_variance(noise + regions[0], np.stack(regions)).argmax() == 0
