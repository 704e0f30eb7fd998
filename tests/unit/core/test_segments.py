"""Regions that know no class, and their vote."""

import numpy as np
import pytest
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.segments import (
    SLIC,
    read_segments,
    resize_segments,
    superpixels,
    vote,
)
from affinitynet.stages.parameters import Refinement, Vote
from affinitynet.stages.refinement import Refiner

REGIONS = np.array([[1, 1, 700], [1, 0, 700]], np.int32)


def test_pixels_take_the_label_that_most_of_their_region_have():
    labels = np.array([[2, 2, 1], [0, 1, 0]])
    segments = np.array([[1, 1, 700], [1, 0, 700]], np.int32)
    expected = np.array([[2, 2, 0], [2, 1, 0]])  # the pixel of no region keeps its label
    np.testing.assert_array_equal(vote(labels, segments, threshold=0.5), expected)
    agreed = np.array([[2, 2, 1], [2, 1, 0]])  # half of a region is too few
    np.testing.assert_array_equal(vote(labels, segments, threshold=0.6), agreed)
    np.testing.assert_array_equal(vote(labels, segments, threshold=0.7), labels)


def test_the_vote_is_that_of_each_region_alone():
    generator = np.random.default_rng(0)
    labels, segments = generator.integers(0, 4, (20, 30)), generator.integers(0, 9, (20, 30))
    voted = vote(labels, segments.astype(np.int32), threshold=0)
    for region in range(1, 9):
        inside = segments == region
        assert {*voted[inside]} == {np.bincount(labels[inside]).argmax()}
    np.testing.assert_array_equal(voted[segments == 0], labels[segments == 0])


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "RGB", "RGBA"])
def test_images_of_all_sorts_are_read(tmp_path, mode):
    if mode in ("L", "P"):
        image = Image.fromarray((REGIONS % 256).astype(np.uint8))
        image = image.convert("P") if mode == "P" else image
    elif mode == "I;16":
        image = Image.fromarray(REGIONS.astype(np.uint16))
    else:
        colours = {0: (0, 0, 0), 1: (9, 0, 200), 700: (255, 3, 0)}
        pixels = np.array([[colours[value] for value in row] for row in REGIONS.tolist()], np.uint8)
        image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "regions.png")
    with Image.open(tmp_path / "regions.png") as stored:
        read = read_segments(stored)
    assert read.dtype == np.int32
    assert np.array_equal(read == 0, REGIONS == 0)
    for region in (1, 700):
        assert len(np.unique(read[region == REGIONS])) == 1
    assert len(np.unique(read)) == 3


def test_a_jpeg_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "regions.jpg")
    with pytest.raises(ValueError, match="is a JPEG"):
        read_segments(Image.open(tmp_path / "regions.jpg"))


def test_resizing_makes_no_regions():
    resized = resize_segments(REGIONS, (5, 7))
    assert resized.shape == (5, 7)
    assert {*np.unique(resized)} == {0, 1, 700}


def refiner(**options):
    crf = CRFParameters(iterations=1, compat_gaussian=0, compat_bilateral=0)
    return Refiner([7], Refinement(Vote(**options), crf, 0.7, None))


def walked(photo):
    """The object is the upper half, of which the last quarter is weak."""
    maps = np.full((2, photo.height, photo.width), 0.4, np.float32)
    maps[1, : photo.height // 2] = 0.7
    maps[1, : photo.height // 2, photo.width * 3 // 4 :] = 0.3
    return ClassMaps(np.array([0, 1], np.uint8), maps)


def test_a_region_gets_one_class():
    photo = Image.new("RGB", (16, 12), "white")
    regions = np.ones((12, 16), np.uint8)
    regions[6:] = 2
    alone = refiner()(photo, walked(photo))
    voted = refiner()(photo, walked(photo), Image.fromarray(regions))
    assert (alone[:6, 12:] == 0).all()
    assert (voted[:6] == 7).all()
    assert (voted[6:] == 0).all()
    assert (refiner(threshold=0.9)(photo, walked(photo), Image.fromarray(regions)) == alone).all()


def test_superpixels_follow_colours():
    pytest.importorskip("skimage")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = 255
    segments = superpixels(pixels, 12, 10.0)
    assert segments.min() == 1
    assert not {*np.unique(segments[:, :30])} & {*np.unique(segments[:, 30:])}
    photo = Image.fromarray(pixels)
    voted = refiner(segments=SLIC, superpixels=2)(photo, walked(photo))
    assert len(np.unique(voted[:, :30])) == 1
