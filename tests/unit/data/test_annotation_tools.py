"""Files of annotation tools, as the tools' own exporters write them."""

import base64
import io
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from affinitynet.data.annotation_tools import decode_brush
from affinitynet.data.masks import draw_masks
from affinitynet.data.tag_file import parse_source

PHOTOS = ["rex", "tom", "both", "empty"]
TAGS = {"rex": {"dog"}, "tom": {"cat"}, "both": {"cat", "dog"}, "empty": set()}
BRUSH = [
    *(0, 0, 0, 192, 57, 27, 254, 75, 0, 191, 255, 124, 2, 255, 253, 240, 11, 255, 248, 140, 0),
]
"""Rows 2 to 4, columns 3 to 6 of a photo of 8 x 6, as Label Studio's SDK encodes it."""


class Photo:
    size = (64, 48)


def read(source, path="t"):
    given = parse_source(source, path, ",;|")
    masks = (
        draw_masks(given, dict.fromkeys(PHOTOS, Photo), path)
        if any(r.shapes for r in given.rows)
        else None
    )
    return given, masks


def tags_of(given):
    names = {
        row.file.split("/")[-1].split(".")[0].split("-")[-1]: {*row.tags} for row in given.rows
    }
    return {name: names.get(name, set()) for name in PHOTOS}


def pixels(masks, photo):
    mask = masks.masks[photo]()
    return {name: int((mask == value).sum()) for value, name in enumerate(masks.classes, start=1)}


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><{kind}><labels>
  <label><name>dog</name><color>#fa3253</color><attributes></attributes></label>
  <label><name>background</name></label><label><name>cat</name></label>
</labels></{kind}></meta>
<image id="0" name="pets/rex.jpg" subset="Train" task_id="1" width="64" height="48">
  <polygon label="dog" source="manual" occluded="0" z_order="0"
    points="10.00,10.00;30.00,10.00;30.00,30.00;10.00,30.00">
    <attribute name="old">1</attribute></polygon></image>
<image id="1" name="pets/tom.jpg" subset="Validation" width="64" height="48">
  <tag label="cat" source="manual"></tag>
  <box label="cat" occluded="0" xtl="1.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box></image>
<image id="2" name="pets/both.jpg" subset="Train" width="64" height="48">
  <mask label="dog" occluded="0" rle="1, 2, 3, 4" left="20" top="10" width="5" height="2"></mask>
  <ellipse label="cat" occluded="0" cx="40.0" cy="30.0" rx="10.0" ry="5.0"></ellipse></image>
<image id="3" name="pets/empty.jpg" subset="Train" width="64" height="48"></image>
</annotations>"""


@pytest.mark.parametrize("kind", ["task", "project", "job"])
def test_cvat_for_images(kind):
    given, masks = read(CVAT.format(kind=kind).encode())
    assert tags_of(given) == TAGS
    assert given.classes == ["dog", "cat"]
    assert [row.split for row in given.rows] == ["Train", "Validation", "Train", "Train"]
    assert given.notes == ["t: boxes, lines and points, read for their tags only: 1"]
    assert masks.masks.keys() == {"rex", "both", "empty"}
    assert pixels(masks, "rex") == {"dog": 400, "cat": 0}
    assert pixels(masks, "both")["dog"] == 6
    assert pixels(masks, "both")["cat"] == pytest.approx(np.pi * 50, rel=0.05)
    mask = masks.masks["both"]()
    assert (mask[10:12, 20:25] == 1).tolist() == [
        [False, True, True, False, False],
        [False, True, True, True, True],
    ]


def labelme(photo, *shapes, **flags):
    return {
        "version": "6.3.1",
        "flags": flags,
        "shapes": [{"group_id": None, "flags": {}, "mask": None} | each for each in shapes],
        "imagePath": f"..\\photos\\{photo}.jpg",
        "imageData": "…",
        "imageHeight": 48,
        "imageWidth": 64,
    }


def polygon(label):
    points = [[10.0, 10.0], [30.0, 10.0], [30.0, 30.0], [10.0, 30.0]]
    return {"label": label, "points": points, "shape_type": "polygon"}


def bitmap(label):
    stream = io.BytesIO()
    Image.fromarray(np.pad(np.ones((4, 5), bool), 1)).save(stream, "PNG")
    png = base64.b64encode(stream.getvalue()).decode()
    return {"label": label, "points": [[40, 20], [47, 26]], "shape_type": "mask", "mask": png}


def test_labelme():
    box = {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
    ignored = polygon("__ignore__")
    circle = {"label": "cat", "points": [[50, 20], [50, 30]], "shape_type": "circle"}
    files = {
        "rex.json": labelme("rex", polygon("dog"), ignored),
        "tom.json": labelme("tom", box),
        "both.json": labelme("both", bitmap("dog"), circle),
        "empty.json": labelme("empty", bird=False),
        "other.json": {"a": 1},
    }
    source = {file: partial(json.dumps(each).encode) for file, each in files.items()}
    given, masks = read(source)
    assert tags_of(given) == TAGS
    assert given.notes == [
        "t: boxes, lines and points, read for their tags only: 1",
        "t: JSON files that are not LabelMe's, left out: 1",
    ]
    assert masks.classes == ["cat", "dog"]
    assert masks.masks.keys() == {"rex", "both", "empty"}
    assert pixels(masks, "rex") == {"cat": 0, "dog": 400}
    assert pixels(masks, "both")["dog"] == 20
    assert pixels(masks, "both")["cat"] == pytest.approx(np.pi * 100 - 20, rel=0.1)


def test_labelme_flags_are_tags():
    given, _ = read(json.dumps(labelme("rex", dog=True, cat=False)).encode())
    assert [row.tags for row in given.rows] == [["dog"]]


def task(number, photo, *results, **more):
    return {
        "id": number,
        "data": {"image": f"/data/upload/1/0a1b2c3{number}-{photo}.jpg"},
        "annotations": [{"result": list(results), "was_cancelled": False} | more],
        "predictions": [{"result": [choice("owl")]}],
    }


def choice(*names):
    return {"type": "choices", "value": {"choices": [*names]}}


def region(kind, label, width=64, height=48, **value):
    size = {"original_width": width, "original_height": height}
    return {"type": kind, "value": value | {kind: [label]}} | size


def test_label_studio():
    square = [[10, 10], [50, 10], [50, 50], [10, 50]]
    tasks = [
        task(1, "rex", region("polygonlabels", "dog", points=square)),
        task(2, "tom", choice("cat"), region("rectanglelabels", "cat", x=1, y=1)),
        task(3, "both", choice("cat", "dog")),
        task(4, "empty"),
        task(5, "gone", choice("owl"), was_cancelled=True),
        {"id": 6, "data": {"image": "owl.jpg"}, "annotations": []},
    ]
    given, masks = read(json.dumps(tasks).encode())
    assert tags_of(given) == TAGS
    assert given.notes == ["t: tasks without annotations, left out: 2"]
    assert masks.masks.keys() == {"rex", "empty"}
    assert pixels(masks, "rex")["dog"] == pytest.approx(0.16 * 64 * 48, abs=30)


def test_brushes_of_label_studio():
    expected = np.zeros((6, 8), np.uint8)
    expected[2:5, 3:7] = 255
    np.testing.assert_array_equal(decode_brush(BRUSH).reshape(6, 8, 4)[..., 3], expected)
    brush = region("brushlabels", "dog", 8, 6, format="rle", rle=BRUSH)
    given = parse_source(json.dumps([task(1, "rex", brush)]).encode(), "t", ";")

    class Small:
        size = (8, 6)

    (draw,) = draw_masks(given, {"rex": Small}, "t").masks.values()
    np.testing.assert_array_equal(draw(), expected > 0)


YOLO = {
    "labels/train/rex.txt": "1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n",
    "labels/val/tom.txt": "0 0.5 0.5 0.2 0.2\n",
    "labels/train/both.txt": "0 0.1 0.1 0.2 0.1 0.2 0.2\n1 0.5 0.5 0.9 0.5 0.9 0.9\n",
    "train.txt": "./images/train/rex.jpg\n",
}


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("data.yaml", "names: [cat, dog]\nnc: 2\n"),
        ("data.yaml", "path: .\nnames:\n  0: cat\n  1: dog\n"),
        ("classes.txt", "cat\ndog\n"),
        ("obj.names", "cat\r\ndog\r\n"),
    ],
)
def test_yolo(names, text):
    files = YOLO | {names: text}
    given, masks = read({file: each.encode for file, each in files.items()})
    assert tags_of(given) == TAGS
    assert given.classes == ["cat", "dog"]
    assert given.complete
    assert {row.split for row in given.rows} == {"train", "val"}
    assert {row.file for row in given.rows} >= {"images/train/rex", "images/val/tom"}
    assert given.notes == [
        "t: boxes, read for their tags only: 1",
        "t: text files that are no labels, left out: 1",
    ]
    assert masks.masks.keys() == {"rex", "both"}
    assert pixels(masks, "rex")["dog"] == pytest.approx(0.16 * 64 * 48, abs=30)


def test_yolo_s_names_are_texts():
    given, _ = read({f: t.encode for f, t in (YOLO | {"data.yaml": "names: [yes, no]"}).items()})
    assert given.classes == ["yes", "no"]


def test_yolo_s_broken_yaml_is_named():
    with pytest.raises(ValueError, match=r"data\.yaml: cannot be read as YAML"):
        read({f: t.encode for f, t in (YOLO | {"data.yaml": "names: [cat"}).items()})


def test_yolo_without_names_is_reported():
    with pytest.raises(ValueError, match="the class 0 has no name \\(there is none\\); names are"):
        read({file: each.encode for file, each in YOLO.items()})


def test_a_folder_of_vocs_xml():
    xml = "<annotation><size><width>64</width><height>48</height></size>{}</annotation>"
    names = {"rex": ["dog"], "tom": ["cat"], "both": ["dog", "cat"], "empty": []}
    files = {
        f"{photo}.xml": xml.format(
            "".join(f"<object><name>{name}</name></object>" for name in each)
        ).encode
        for photo, each in names.items()
    }
    given, masks = read(files)
    assert tags_of(given) == TAGS
    assert masks is None


def test_metadata_of_hugging_face():
    files = {
        "train/metadata.csv": b"file_name,label\nrex.jpg,dog\nboth.jpg,cat;dog\n",
        "test/metadata.jsonl": b'{"file_name": "tom.jpg", "label": "cat", "caption": "a cat"}\n',
    }
    given = parse_source({file: partial(bytes, each) for file, each in files.items()}, None, ",;|")
    assert {row.file: (row.tags, row.split) for row in given.rows} == {
        "train/rex.jpg": (["dog"], "train"),
        "train/both.jpg": (["cat", "dog"], "train"),
        "test/tom.jpg": (["cat"], "test"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"data": {"image": "rex.jpg"}, "annotations": [3]}]', "has another form"),
        ('{"shapes": ["dog"], "imagePath": "rex.jpg"}', "has another form"),
        ("<annotations><track/></annotations>", "is 'CVAT for video'; export"),
        ("<html></html>", "is XML, but not of 'CVAT for images 1.1'"),
        ("<annotations>", "is XML that cannot be read"),
    ],
)
def test_other_files_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        read(text.encode())


def test_via_with_check_boxes_and_outlines():
    polygon = {"name": "polygon", "all_points_x": [2, 12, 12], "all_points_y": [2, 2, 12]}
    regions = [
        {"shape_attributes": polygon, "region_attributes": {"label": "dog", "old": "no"}},
        {
            "shape_attributes": {"name": "ellipse", "cx": 40, "cy": 24, "rx": 5, "ry": 3},
            "region_attributes": {"label": {"cat": True, "dog": False}},
        },
    ]
    entries = {"both.jpg99": {"filename": "both.jpg", "regions": regions}}
    for value in (entries, {"_via_settings": {}, "_via_img_metadata": entries}):
        given, masks = read(json.dumps(value).encode())
        assert tags_of(given)["both"] == {"cat", "dog"}
        assert pixels(masks, "both")["cat"] == pytest.approx(np.pi * 15, rel=0.2)
    regions[0]["region_attributes"] = {"colour": "red", "old": "no"}
    with pytest.raises(ValueError, match="regions have the attributes colour, old"):
        read(json.dumps(entries).encode())


@pytest.mark.parametrize(
    "mark",
    [
        '<polygon label="dog" points="a,1;3,4;5,6"/>',
        '<polygon label="dog" points="1,2;3"/>',
        '<mask label="dog" rle="" left="1" top="1" width="3" height="3"/>',
        '<mask label="dog" rle="2, 3" left="1" top="1" width="3" height="3"/>',
    ],
)
def test_broken_marks_of_cvat_are_tags_only(mark):
    sizes = 'width="64.0" height="48"'
    text = f'<annotations><image id="0" name="rex.jpg" {sizes}>{mark}</image></annotations>'
    given, masks = read(text.encode())
    assert tags_of(given)["rex"] == {"dog"}
    assert masks is None
    assert (given.rows[0].width, given.rows[0].height) == (64, 48)


def test_label_studios_ratings_and_brushes_without_sizes_are_left_out():
    results = [
        {"type": "rating", "value": {"rating": 3}},
        {"type": "brushlabels", "value": {"brushlabels": ["dog"], "format": "rle", "rle": [0]}},
    ]
    task = {"id": 1, "data": {"image": "rex.jpg"}, "annotations": [{"result": results}]}
    given, masks = read(json.dumps([task]).encode())
    assert tags_of(given)["rex"] == {"dog"}
    assert masks is None


def test_a_folder_of_several_files_names_the_splits():
    """As Roboflow exports them."""
    files = {
        "train/_classes.csv": lambda: b"filename, cat, dog\nrex.jpg, 0, 1\n",
        "valid/_classes.csv": lambda: b"filename, dog, owl\ntom.jpg, 0, 1\n",
    }
    given = parse_source(files, "t", ",;|")
    assert [(row.file, row.tags, row.split) for row in given.rows] == [
        ("train/rex.jpg", ["dog"], "train"),
        ("valid/tom.jpg", ["owl"], "val"),
    ]
    assert given.classes == ["cat", "dog", "owl"]


def test_panoptic_coco_is_refused():
    coco = {
        "images": [{"id": 1, "file_name": "rex.jpg"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"image_id": 1, "segments_info": [{"category_id": 1}]}],
    }
    with pytest.raises(ValueError, match="panoptic"):
        read(json.dumps(coco).encode())
