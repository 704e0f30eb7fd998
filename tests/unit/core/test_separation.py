"""How well label maps divide photos: Otsu's criterion, of one photo and of many."""

import numpy as np
import pytest

from affinitynet.core.separation import choose_label_maps, sum_regions

SIZE = (20, 24)


def test_regions_explain_the_variance_between_them():
    features = np.zeros((2, 4, 6))
    features[0, :, :2], features[1, :, 4:] = 3, 1
    thirds = np.repeat([0, 1, 2], 2)[None].repeat(4, axis=0)
    nothing = np.zeros((4, 6), int)
    rows = np.arange(4)[:, None].repeat(6, axis=1) % 3
    photo = sum_regions(
        [features], np.stack([thirds, nothing, rows]), np.array([0, 2, 5], np.uint8)
    )
    np.testing.assert_allclose(photo.explained(), [1, 0, 0], atol=2e-3)
    np.testing.assert_allclose(photo.sizes[0], 1 / 3)


def test_one_colour_has_nothing_to_explain():
    labels = np.eye(4, dtype=np.uint8)[None]
    photo = sum_regions([np.ones((3, 4, 4))], labels, np.array([0, 1], np.uint8))
    assert photo.explained().tolist() == [0]


def test_levels_count_alike_whatever_their_scale():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    halves = (np.indices((4, 6))[1] < 3).astype(np.uint8)[None]
    labels = np.array([0, 1], np.uint8)
    alone = [sum_regions([level], halves, labels).explained() for level in (one, other)]
    both = sum_regions([one, 1000 * other], halves, labels).explained()
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
    assert photo.explained().argmax() == 0


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
    alone = [int(photo.explained().argmax()) for photo in photos]
    assert 0 in alone
    choices, regions = choose_label_maps(photos, classes=1)
    assert choices == [1] * len(photos)
    assert regions.best(photos[2]) == 1


def test_a_photo_alone_has_its_own_criterion():
    random = np.random.default_rng(1)
    maps = random.integers(0, 2, (7, *SIZE)).astype(np.uint8)
    photo = sum_regions([random.normal(size=(4, *SIZE))], maps, np.array([0, 3], np.uint8))
    (choice,), regions = choose_label_maps([photo], classes=3)
    assert choice == photo.explained().argmax()
    assert regions.between() == pytest.approx(photo.explained().max(), abs=1e-3)
