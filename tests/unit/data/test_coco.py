"""COCO's instances as exporters write them: nothing lost without a word."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as rle

from affinitynet.data.coco import parse_coco
from affinitynet.data.masks import draw_masks
from affinitynet.data.shapes import read_compressed, read_polygons
from affinitynet.data.tag_file import parse_source

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
INNER = [12, 12, 18, 12, 18, 18, 12, 18]


def coco(*annotations, images=(), categories=()):
    return {
        "images": [*(images or [{"id": 1, "file_name": "rex.jpg", "width": 64, "height": 48}])],
        "categories": [*(categories or [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}])],
        "annotations": [{"image_id": 1, "category_id": 7} | each for each in annotations],
    }


def draw(content, photos=("rex",), **readers):
    given = parse_coco(json.loads(json.dumps(content)), "c.json")
    return given, draw_masks(given, dict.fromkeys(photos) | readers, "c.json")


def areas(drawn, photo="rex"):
    values, counts = np.unique(drawn.masks[photo](), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def uncompressed(mask):
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    changes = np.flatnonzero(np.diff(flat.astype(int)))
    runs = np.diff(np.concatenate([[0], changes])).tolist()
    return {"size": list(mask.shape), "counts": runs if not mask.ravel()[0] else [0, *runs]}


MASK = np.zeros((48, 64), np.uint8)
MASK[10:30, 10:30] = 1
COMPRESSED = rle.encode(np.asfortranarray(MASK))
COMPRESSED = {"size": COMPRESSED["size"], "counts": COMPRESSED["counts"].decode()}


UNENDED = COMPRESSED["counts"] + "P"


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        SQUARE,
        [[[10, 10], [30, 10], [30, 30], [10, 30]]],
        [[10, 10], [30, 10], [30, 30], [10, 30]],
        [SQUARE, [], [5, 5], [1, 1, 2, 2], [1, 2, 3, 4, 5]],
        COMPRESSED,
        COMPRESSED | {"size": ["48", "64"]},
        uncompressed(MASK),
    ],
)
@pytest.mark.parametrize("crowd", [0, 1, None])
def test_outlines_of_every_kind(segmentation, crowd):
    _, drawn = draw(coco({"segmentation": segmentation, "area": None, "iscrowd": crowd}))
    assert areas(drawn) == {0: 48 * 64 - 400, 2: 400}


@pytest.mark.parametrize(
    "segmentation",
    [
        *([], [[]], None, {}, [[1, 2, 3, 4]], [10, 10, 30, 30], "polygon", [[float("nan")] * 6]),
        *({"size": [48, 64]}, {"size": [9, 9], "counts": [0, 81]}),
        {"size": [48, 64], "counts": [0, 5]},
        *(
            {"size": [48, 64], "counts": counts}
            for counts in ("", "1000", "~~~~~", "zzz", "é", UNENDED, "P" * 99)
        ),
    ],
)
def test_degenerate_outlines_are_counted_and_their_photo_has_no_mask(segmentation):
    other = {"image_id": 2, "segmentation": [SQUARE]}
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in (1, 2)]
    content = coco({"segmentation": segmentation}, other, images=images)
    given, drawn = draw(content, ("1", "2"))
    assert [row.tags for row in given.rows] == [["dog"], ["dog"]]
    assert drawn.masks.keys() == {"2"}
    assert drawn.notes == [
        "c.json: annotations without a usable outline, read for their tags only: 1",
        "c.json: photos with a tag that has no outline, they have no mask: 1",
    ]


def test_run_lengths_of_another_size_than_the_photo_are_refused():
    content = coco({"segmentation": COMPRESSED}, images=[{"id": 1, "file_name": "rex.jpg"}])
    _, drawn = draw(content, rex=lambda: Image.new("RGB", (63, 48)))
    with pytest.raises(ValueError, match="run lengths of 'dog' are not of the photo, 63 x 48"):
        drawn.masks["rex"]()


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 1)))
def test_compressed_run_lengths_are_read(mask):
    runs = read_compressed(rle.encode(np.asfortranarray(mask))["counts"].decode())
    assert sum(runs) == mask.size
    assert sum(runs[1::2]) == mask.sum()


def test_small_shapes_lie_over_large_ones():
    small = {"segmentation": [INNER], "category_id": 3}
    for order in (small, {"segmentation": [SQUARE]}), ({"segmentation": [SQUARE]}, small):
        _, drawn = draw(coco(*order))
        assert areas(drawn) == {0: 48 * 64 - 400, 1: 36, 2: 364}


def test_what_is_left_over_is_counted():
    given, drawn = draw(
        coco(
            {"segmentation": [SQUARE]},
            {"image_id": 99, "segmentation": [SQUARE]},
            {"category_id": 99, "segmentation": [SQUARE]},
            images=[{"id": "1", "file_name": "rex.jpg", "width": 64.0, "height": "48"}, {"id": 2}],
        )
    )
    assert areas(drawn) == {0: 48 * 64 - 400, 2: 400}
    assert given.notes == [
        "c.json: images without id or file_name, left out: 1",
        "c.json: annotations of images that are not there, left out: 1",
        "c.json: annotations of categories that are not there, left out: 1",
    ]


def test_sizes_that_are_missing_come_from_the_photo():
    class Photo:
        size = (64, 48)

    content = coco({"segmentation": [SQUARE]}, images=[{"id": 1, "file_name": "rex.jpg"}])
    _, drawn = draw(content, rex=Photo)
    assert areas(drawn) == {0: 48 * 64 - 400, 2: 400}


def test_background_is_no_category():
    names = ["_background_", "dog", "BACKGROUND_Google"]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    hole = {"category_id": 0, "segmentation": [INNER]}
    content = coco({"category_id": 1, "segmentation": [SQUARE]}, hole, categories=categories)
    given, drawn = draw(content)
    assert given.classes == drawn.classes == ["dog"]
    assert areas(drawn) == {0: 48 * 64 - 364, 1: 364}


def test_categories_of_one_name_are_one_class():
    categories = [{"id": 1, "name": "cafe\u0301"}, {"id": 2, "name": " caf\u00e9\u00a0"}]
    content = coco({"category_id": 2, "segmentation": [SQUARE]}, categories=categories)
    given, drawn = draw(content)
    assert given.classes == ["caf\u00e9"]
    assert areas(drawn)[1] == 400


def test_many_categories_of_which_few_are_used():
    categories = [{"id": number, "name": f"c{number}"} for number in range(1203)]
    given, drawn = draw(coco({"category_id": 900, "segmentation": [SQUARE]}, categories=categories))
    assert given.classes == ["c900"]
    assert areas(drawn)[1] == 400


@pytest.mark.parametrize("file", ["rex.jpg", "a\\rex.jpg", "a/REX.JPG", "/data/a/rex.jpg", "rex"])
def test_masks_are_matched_as_tags_are(file):
    images = [{"id": 1, "file_name": file, "width": 64, "height": 48}]
    _, drawn = draw(coco({"segmentation": [SQUARE]}, images=images), ("a/rex", "b/tom"))
    assert drawn.masks.keys() == {"a/rex"}


def test_photos_that_differ_in_their_suffix():
    images = [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}]
    _, drawn = draw(coco({"segmentation": [SQUARE]}, images=images), ("a.jpg", "a.png"))
    assert drawn.masks.keys() == {"a.png"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "is neither JSON Lines nor a COCO file"),
        (coco() | {"annotations": None}, "'annotations' is missing or no list"),
        (
            coco(images=[{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]),
            "two images have the id 1",
        ),
        (coco({"segments_info": []}), "is COCO's panoptic format"),
        (coco({"bbox": [0, 0, 5, 5]}), "has no outlines to draw masks from"),
    ],
)
def test_what_cannot_be_used_is_named(content, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw(content)


def test_polygons_in_polygons():
    assert read_polygons([[[[0, 0], [4, 0], [4, 4]]], [0, 0, 1, 0, 1, 1]]) == [
        [0, 0, 4, 0, 4, 4],
        [0, 0, 1, 0, 1, 1],
    ]


def test_files_of_two_splits_are_one_data_set():
    def instances(file, category):
        content = coco(
            {"category_id": category, "segmentation": [SQUARE]},
            images=[{"id": 1, "file_name": file, "width": 64, "height": 48}],
        )
        return lambda: json.dumps(content).encode()

    files = {
        "captions_train2014.json": lambda: b"not to be read",
        "instances_train2014.json": instances("COCO_train2014_1.jpg", 7),
        "instances_val2014.json": instances("COCO_val2014_1.jpg", 3),
    }
    given = parse_source(files, "annotations", ";")
    assert [(row.file, row.tags, row.split) for row in given.rows] == [
        ("COCO_train2014_1.jpg", ["dog"], "train"),
        ("COCO_val2014_1.jpg", ["cat"], "val"),
    ]
    assert given.classes == ["cat", "dog"]
    photos = dict.fromkeys(["train2014/COCO_train2014_1", "val2014/COCO_val2014_1"])
    drawn = draw_masks(given, photos, "annotations")
    assert [np.unique(read()).tolist() for read in drawn.masks.values()] == [[0, 2], [0, 1]]


def test_ids_may_be_floats_as_pandas_writes_them():
    content = coco({"segmentation": [SQUARE], "image_id": 1.0, "category_id": 7.0})
    given, drawn = draw(content)
    assert given.rows[0].tags == ["dog"]
    assert areas(drawn)[2] == 400
    assert not given.notes


def test_a_point_far_outside_the_photo_costs_no_memory():
    """pycocotools walks along edges: this one would take it 20 GB."""
    _, drawn = draw(coco({"segmentation": [[1e9, 10, -1e9, 10, -1e9, 30, 1e9, 30]]}))
    assert areas(drawn) == {0: 48 * 64 - 20 * 64, 2: 20 * 64}
