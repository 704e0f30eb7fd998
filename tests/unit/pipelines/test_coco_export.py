"""COCO's encodings: nothing is lost, as pycocotools reads them back."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle
from scipy import ndimage

from affinitynet.data import coco_export as coco

masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 3, 9, 255]),
)


def union(annotations, shape):
    """The label map that the annotations make together, as pycocotools draws them."""
    labels = np.zeros(shape, np.uint8)
    for annotation in annotations:
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, list):
            segmentation = rle.merge(rle.frPyObjects(segmentation, *shape))
        labels[rle.decode(segmentation).astype(bool)] = annotation["category_id"]
    return labels


@pytest.mark.parametrize("encode", [coco.encode_stuff, coco.encode_components])
@given(mask=masks)
@settings(deadline=None)
def test_annotations_give_the_labels_back(encode, mask):
    expected = np.where(mask == 255, 0, mask)
    np.testing.assert_array_equal(union(encode(mask), mask.shape), expected)


@given(mask=masks)
@settings(deadline=None)
def test_a_component_is_an_annotation(mask):
    annotations = coco.encode_components(mask)
    for value in (3, 9):
        mine = [a for a in annotations if a["category_id"] == value]
        assert len(mine) == ndimage.label(mask == value)[1]
        assert sum(a["area"] for a in mine) == (mask == value).sum()
    assert all(a["iscrowd"] == 0 for a in annotations)


def test_a_box_is_that_of_its_pixels():
    mask = np.zeros((5, 7), np.uint8)
    mask[1:3, 2:6] = 4
    (annotation,) = coco.encode_components(mask)
    assert annotation["bbox"] == [2, 1, 4, 2]
    assert annotation["area"] == 8
    assert sorted(zip(*[iter(annotation["segmentation"][0])] * 2, strict=True)) == [
        (2, 1),
        (2, 3),
        (6, 1),
        (6, 3),
    ]


def test_a_ring_is_cut_into_polygons_without_holes():
    mask = np.full((5, 5), 1, np.uint8)
    mask[2, 2] = 0
    (annotation,) = coco.encode_components(mask)
    assert len(annotation["segmentation"]) == 2


def test_a_score_is_the_mean_confidence():
    mask = np.array([[0, 2], [2, 2]], np.uint8)
    confidence = np.array([[10, 51], [102, 255]], np.uint8)
    (result,) = coco.encode_results(mask, confidence)
    assert result["score"] == pytest.approx((51 + 102 + 255) / 3 / 255, abs=1e-4)
    np.testing.assert_array_equal(rle.decode(result["segmentation"]), mask == 2)


def test_images_are_numbered_by_their_rows():
    table = pd.DataFrame({"file": ["b.jpg", "a/c.png"], "width": [4, 5], "height": [2, 3]})
    assert list(coco.image_entries(table)) == [
        {"id": 1, "file_name": "b.jpg", "width": 4, "height": 2},
        {"id": 2, "file_name": "a/c.png", "width": 5, "height": 3},
    ]


def test_specks_and_small_holes_are_left_out():
    mask = np.zeros((40, 40), np.uint8)
    mask[5:25, 5:25] = 3
    mask[10:12, 10:12] = 0
    mask[14:20, 14:20] = 9
    mask[30:32, 30:33] = 3
    square, other = coco.encode_components(mask, min_area=10)
    assert (square["category_id"], square["area"]) == (3, 20 * 20 - 6 * 6)
    assert (other["category_id"], other["area"]) == (9, 36)
    assert len(coco.encode_components(mask)) == 3


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4))
@settings(deadline=None, max_examples=50)
def test_simplified_outlines_stay_near_the_pixels(seed, tolerance):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((48, 48)), 4)
    mask = np.where(noise > np.quantile(noise, 0.6), 7, 0).astype(np.uint8)
    simple = coco.encode_components(mask, tolerance=tolerance)
    corners = [sum(map(len, a["segmentation"])) for a in simple]
    exact = [sum(map(len, a["segmentation"])) for a in coco.encode_components(mask)]
    assert sum(corners) < sum(exact)
    wrong = union(simple, mask.shape) != mask
    outside = ndimage.distance_transform_edt(mask == 0)
    inside = ndimage.distance_transform_edt(np.pad(mask != 0, 1))[1:-1, 1:-1]
    assert (outside + inside)[wrong].max(initial=0) <= tolerance + 1.5
