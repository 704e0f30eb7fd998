"""How well label maps divide photos: Otsu's criterion, between the classes of many photos."""

import numpy as np
import pytest

from affinitynet.core.separation import sum_regions, variance_between_classes

SIZE = (20, 24)


def explained(photo):
    """Otsu's own criterion: a photo alone, each region a class of its own."""
    return variance_between_classes([photo], classes=int(photo.labels.max()))


def test_regions_explain_the_variance_between_them():
    features = np.zeros((2, 4, 6))
    features[0, :, :2], features[1, :, 4:] = 3, 1
    thirds = np.repeat([0, 1, 2], 2)[None].repeat(4, axis=0)
    nothing = np.zeros((4, 6), int)
    rows = np.arange(4)[:, None].repeat(6, axis=1) % 3
    photo = sum_regions(
        [features], np.stack([thirds, nothing, rows]), np.array([0, 2, 5], np.uint8)
    )
    np.testing.assert_allclose(explained(photo), [1, 0, 0], atol=2e-3)
    np.testing.assert_allclose(photo.sizes[0], 1 / 3)


def test_one_colour_has_nothing_to_explain():
    labels = np.eye(4, dtype=np.uint8)[None]
    photo = sum_regions([np.ones((3, 4, 4))], labels, np.array([0, 1], np.uint8))
    assert explained(photo).tolist() == [0]


def test_levels_count_alike_whatever_their_scale():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    halves = (np.indices((4, 6))[1] < 3).astype(np.uint8)[None]
    labels = np.array([0, 1], np.uint8)
    alone = [explained(sum_regions([level], halves, labels)) for level in (one, other)]
    both = explained(sum_regions([one, 1000 * other], halves, labels))
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=2e-3)


def square(side, margin=0):
    region = np.zeros(SIZE, np.uint8)
    region[4 - margin : 4 + side + margin, 5 - margin : 5 + side + margin] = 1
    return region


@pytest.mark.parametrize("side", [6, 10, 14])
def test_the_object_s_own_region_explains_most(side):
    """Of a noisy photo: not a larger or smaller one, nor half of the photo."""
    regions = [square(side, margin) for margin in (0, -2, 2, 4)]
    regions.append((np.indices(SIZE)[0] < 10).astype(np.uint8))
    noise = 0.3 * np.random.default_rng(side).normal(size=(3, *SIZE))
    photo = sum_regions([noise + regions[0]], np.stack(regions), np.array([0, 1], np.uint8))
    assert explained(photo).argmax() == 0


def test_other_photos_tell_what_is_of_the_class():
    """Beside each object is a strip that differs as much, but in each photo otherwise."""
    random = np.random.default_rng(0)
    photos = []
    for number, side in enumerate((8, 10, 9, 12, 11, 10, 9, 8)):
        whole, strip = square(side), np.zeros(SIZE, np.uint8)
        strip[:, 21:] = 1
        features = 0.1 * random.normal(size=(9, *SIZE))
        features[0] += whole
        features[1 + number] += whole + 2 * strip  # this photo's own light
        maps = np.stack([whole | strip, whole, square(side, 3)])
        photos.append(sum_regions([features], maps, np.array([0, 1], np.uint8)))
    alone = [int(explained(photo).argmax()) for photo in photos]
    assert 0 in alone
    assert variance_between_classes(photos, classes=1).argmax() == 1


def test_it_is_the_variance_between_the_classes_of_all_photos():
    random = np.random.default_rng(1)
    labels = np.array([0, 3], np.uint8)
    features = [random.normal(size=(4, *SIZE)) for _ in range(3)]
    maps = [random.integers(0, 2, (5, *SIZE)).astype(np.uint8) for _ in features]
    photos = [sum_regions([f], m, labels) for f, m in zip(features, maps, strict=True)]
    between = variance_between_classes(iter(photos), classes=3)
    pixels = np.concatenate([_standardise(f) for f in features], axis=1)
    for number in range(5):
        classes = np.concatenate([each[number].ravel() for each in maps])
        means = {c: pixels[:, classes == c].mean(axis=1) for c in (0, 1)}
        expected = sum((means[c] ** 2).sum() * (classes == c).mean() for c in (0, 1))
        assert between[number] == pytest.approx(expected, rel=0.02)


def _standardise(features):
    pixels = features.reshape(len(features), -1)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    return pixels / np.sqrt((pixels**2).sum(axis=0).mean())


def test_without_photos_nothing_is_known():
    assert np.isnan(variance_between_classes([], classes=3)).all()
