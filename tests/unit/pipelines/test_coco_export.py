"""COCO's encodings: nothing is lost, as pycocotools reads them back."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
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
def test_annotations_give_the_labels_back(encode, mask):
    expected = np.where(mask == 255, 0, mask)
    np.testing.assert_array_equal(union(encode(mask), mask.shape), expected)


@given(mask=masks)
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
