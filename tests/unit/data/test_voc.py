"""VOC's lists and annotations, as other programs write them."""

import pytest

from affinitynet.data.parameters import DataSet
from affinitynet.data.voc import (
    Annotation,
    format_annotation,
    parse_annotation,
    parse_split,
    read_voc,
)
from affinitynet.pipelines.labels_export.nodes import describe_voc

PHOTOS = ["a", "b", "IMG 0001", "IMG", "beach/both", "Bär 1"]
LIST = "a\nIMG 0001\nBär 1\n"


@pytest.mark.parametrize(
    "source",
    [
        LIST.encode(),
        LIST.encode("utf-8-sig"),
        LIST.encode("utf-16"),  # PowerShell
        LIST.encode("utf-16-le"),
        LIST.encode("latin-1"),
        LIST.replace("\n", "\r\n").encode(),
        LIST.replace("\n", "  1\r\n\r\n").encode(),
        LIST.replace("\n", " -1\n").encode(),
        LIST.replace("\n", ".jpg\n").encode(),
        LIST.replace("Bär", "Ba\u0308r").encode(),
        b"".join(
            f"JPEGImages/{name}.jpg SegmentationClass/{name}.png\n".encode()
            for name in LIST.splitlines()
        ),
    ],
)
def test_lists_are_read_in_every_encoding_and_form(source):
    assert parse_split(source, "train.txt", PHOTOS) == ["a", "IMG 0001", "Bär 1"]


def test_ids_of_no_photo_are_named_as_they_stand():
    source = b"gone\nIMG 0002\nIMG 0003 -1\nbeach/both\n"
    expected = ["gone", "IMG 0002", "IMG 0003", "beach/both"]
    assert parse_split(source, "train.txt", PHOTOS) == expected
    assert parse_split(b"2007_000032  1\n2007_000039 -1", "val.txt") == [
        "2007_000032",
        "2007_000039",
    ]


def test_a_list_that_is_no_text_is_named():
    lists = {"train": "t", "val": "v"}
    options = DataSet(
        layout="voc", strict=True, classes=["cat"], mask_classes=["cat"], splits=lists
    )
    splits = {"t": lambda: b"PK\x03\x04\0\0\xff\0\0", "v": lambda: b"a"}
    tagged = read_voc(["a"], options, {}, splits)
    assert any(line.startswith("ImageSets/Segmentation/t.txt: ") for line in tagged.problems)


XML = "<annotation><path>{path}</path>{size}<object><name>{tag}</name></object></annotation>"
SIZE = "<size><width>96</width><height>64</height><depth>3</depth></size>"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("", "utf-8"),
        ("", "utf-8-sig"),
        ("", "utf-16"),
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "utf-8"),
        ("\n<?xml version='1.0' encoding='gbk'?>", "gbk"),
        ('<?xml version="1.0" encoding="GB2312" standalone="yes"?>', "gb2312"),
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-16"),
        ('<?xml version="1.0" encoding="utf-16"?>', "utf-8"),  # as C# writes it
        ('<?xml version="1.0" encoding="utf-8"?>', "utf-8-sig"),
    ],
)
def test_annotations_are_read_as_they_are_encoded(declared, encoding):
    xml = declared + XML.format(path="C:\\照片\\a.jpg", size=SIZE, tag="猫")
    assert parse_annotation(xml.encode(encoding)) == Annotation(96, 64, ("猫",))


def test_latin_1_is_read_as_it_is_declared():
    xml = '<?xml version="1.0" encoding="ISO-8859-1"?>' + XML.format(path="ü", size="", tag="Bär")
    assert parse_annotation(xml.encode("latin-1")).tags == ("Bär",)


def test_a_path_in_another_encoding_is_no_harm_but_a_tag_is():
    for encoding in ("gbk", "shift-jis"):
        xml = XML.format(path="C:\\写真\\a.jpg", size=SIZE, tag="cat").encode(encoding)
        assert parse_annotation(xml).tags == ("cat",)
    with pytest.raises(ValueError, match="is not in the encoding that the file declares"):
        parse_annotation(XML.format(path="", size="", tag="狗").encode("gbk"))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("", (0, 0)),
        ("<size/>", (0, 0)),
        (SIZE.replace("96", "0").replace("64", "0"), (0, 0)),
        (SIZE.replace("96", "96.0").replace("64", " 64 "), (96, 64)),
        (SIZE.replace("96", "nan").replace("64", "Unspecified"), (0, 0)),
        (SIZE.replace("96", "-1"), (0, 64)),
    ],
)
def test_sizes_may_be_missing_or_odd(size, expected):
    annotation = parse_annotation(XML.format(path="", size=size, tag="cat").encode())
    assert (annotation.width, annotation.height) == expected


def test_what_is_no_xml_is_named():
    with pytest.raises(ValueError, match="is no VOC annotation: "):
        parse_annotation(b"<annotation>")


def test_annotations_that_are_written_are_read_back():
    xml = format_annotation("IMG 0001.jpg", 96, 64, ["cat", "Bär & <dog>"])
    assert parse_annotation(xml.encode()) == Annotation(96, 64, ("cat", "Bär & <dog>"))


def test_lists_that_are_exported_are_read_back():
    import pandas as pd

    images = pd.DataFrame(
        {"split": "train", "width": 96, "height": 64, "tags": "cat"}, index=PHOTOS
    ).assign(file="a.jpg", source="pseudo labels")
    _, lists, _ = describe_voc(images, {"cat": 8})
    assert parse_split(lists["train"].encode(), "train.txt", PHOTOS) == PHOTOS


def test_annotations_in_a_namespace_and_no_annotations():
    text = b'<annotation xmlns="http://x"><object><name>dog</name></object></annotation>'
    assert parse_annotation(text).tags == ("dog",)
    with pytest.raises(ValueError, match="neither <size> nor <object>"):
        parse_annotation(b"<html/>")


def test_lists_that_are_missing_and_classes_that_no_photo_has():
    names = "dog;owl"
    data_set = DataSet(
        layout="voc", strict=True, classes=names, mask_classes=names, splits={"train": "train"}
    )
    xml = {"a": lambda: b"<annotation><object><name>dog</name></object></annotation>"}
    tagged = read_voc(["a"], data_set, xml, {"train": lambda: b"a"})
    assert tagged.problems == [
        "parameter data_set.classes: no photo of the lists has the tag 'owl'"
    ]
    (problem,) = read_voc(["a"], data_set, xml, {}).problems
    assert "--env tagged reads the folder" in problem
