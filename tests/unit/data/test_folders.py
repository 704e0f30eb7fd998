"""Folders as people have them: splits, roles and classes in any order and any case."""

import pytest

from affinitynet.data.files import is_hidden
from affinitynet.data.folders import class_of, read_place, read_places
from affinitynet.data.parameters import DataSet
from affinitynet.data.tag_file import read_tagged
from affinitynet.datasets.photos import Photos

OPTIONS = DataSet(layout="tagged", strict=False, classes=None, mask_classes=None)


def read(*photos):
    places, problems, notes = read_places(photos)
    rows = {photo: (class_of(place), place.split) for photo, place in places.items()}
    return rows, problems, notes


@pytest.mark.parametrize(
    ("folder", "classes", "split", "is_mask"),
    [
        ("train/cat", ["cat"], "train", False),
        ("cat/train", ["cat"], "train", False),
        ("dataset/train/images", [], "train", False),
        ("Train/Images/cat", ["cat"], "train", False),
        ("images/VALID/cat", ["cat"], "val", False),
        ("validation/cat/2024", ["cat", "2024"], "val", False),
        ("Testing/cat", ["cat"], "test", False),
        ("training_set/training_set/cats", ["cats"], "train", False),
        ("train2017", [], "train", False),
        ("val-images/cat", ["cat"], "val", False),
        ("trainval/cat", ["cat"], "", False),
        ("JPEGImages", [], "", False),
        ("SegmentationClassAug", [], "", True),
        ("groundTruth", [], "", True),
        ("train/masks", [], "train", True),
        ("Annotations", [], "", True),
        ("cat_images", ["cat_images"], "", False),
        ("Trains", ["Trains"], "", False),
        ("2024", ["2024"], "", False),
        ("fold_1/cat", ["cat"], "", False),
        ("eval/cat", ["cat"], "val", False),
        ("holdout/cat", ["cat"], "test", False),
    ],
)
def test_folders_are_sorted_into_classes_splits_and_roles(folder, classes, split, is_mask):
    place = read_place(folder.split("/"))
    assert ([*place.classes], place.split, place.is_mask) == (classes, split, is_mask)


def test_images_beside_masks_are_the_photos():
    rows, problems, notes = read("cat/images/a", "cat/masks/a", "dog/images/b", "dog/masks/b")
    assert rows == {"cat/images/a": (["cat"], ""), "dog/images/b": (["dog"], "")}
    assert not problems
    assert notes == ["2 files are masks by their folders or names, and no photos: cat/masks/a, …"]


def test_folders_that_all_photos_share_are_no_class():
    rows, *_ = read("pets/v2/train/cat/a", "pets/v2/train/dog/a", "pets/v2/val/cat/b")
    assert [tags for tags, _ in rows.values()] == [["cat"], ["dog"], ["cat"]]
    rows, *_ = read("dog/a", "dog/2024/b")
    assert [tags for tags, _ in rows.values()] == [["dog"], ["dog"]]


def test_background_is_never_a_class():
    names = ["background", "Background", "_background_", "BACKGROUND_Google", "__BACKGROUND__"]
    rows, *_ = read("cat/a", *(f"{name}/b" for name in names))
    assert [tags for tags, _ in rows.values()] == [["cat"], *[[]] * len(names)]


def test_a_single_split_is_none():
    rows, problems, notes = read("train/cat/a", "train/dog/b")
    assert {split for _, split in rows.values()} == {""}
    assert not problems
    assert notes == ["all photos lie in folders of train: train and val are drawn"]


@pytest.mark.parametrize(
    "photos",
    [
        ("bus/a", "train/b", "car/c"),  # classes of VOC
        ("train/bus/a", "train/train/b", "val/bus/c"),
        ("train/bus/a", "val/train/b", "val/bus/c"),
        ("train/cat/a", "val/cat/b", "cat/c"),
    ],
)
def test_a_class_that_is_named_as_a_split_is_doubted(photos):
    _, problems, _ = read(*photos)
    assert len(problems) == 1
    assert "rename a folder that is a class (train: trains), or give tags=<file>" in problems[0]


def test_test_is_val_where_there_is_no_other():
    def splits(*photos):
        return read_tagged(dict.fromkeys(photos), OPTIONS, None).photos["split"].to_dict()

    both = ("Training/cat/a", "Testing/cat/b")
    assert splits(*both) == {both[0]: "train", both[1]: "val"}
    three = ("train/cat/a", "valid/cat/b", "test/cat/c")
    assert splits(*three) == {three[0]: "train", three[1]: "val"}


def test_no_split_and_no_role_becomes_a_class():
    photos = ["data/train/images/cat/a", "data/train/labels/cat/a", "data/valid/images/dog/b"]
    tagged = read_tagged(dict.fromkeys(photos), OPTIONS, None)
    assert tagged.classes == {"cat": 1, "dog": 2}
    assert not tagged.problems
    assert [*tagged.photos.index] == [photos[0], photos[2]]
    assert not any("not named" in line for line in tagged.warnings)


def test_masks_beside_the_photos_are_no_photos():
    rows, _, notes = read("a/x (1)", "a/x (1)_mask", "b/y", "b/y-GT", "b/blue_mask")
    assert {*rows} == {"a/x (1)", "b/y", "b/blue_mask"}
    assert notes == ["2 files are masks by their folders or names, and no photos: a/x (1)_mask, …"]


@pytest.mark.parametrize("file", ["__MACOSX/cat/a.jpg", "cat/@eaDir/a.jpg", "cat/._a.jpg"])
def test_what_systems_leave_in_folders_is_hidden(file):
    assert is_hidden(file)


def test_photos_without_folders_of_classes_need_tags():
    with pytest.raises(
        ValueError, match=r"give the tags with tags=.*; there is train/_classes.csv"
    ):
        read_tagged(Photos({"train/a": None}, ["train/_classes.csv", "x.txt"], []), OPTIONS, None)


def test_links_to_folders_are_named():
    photos = Photos({"cat/a": None, "dog/b": None}, [], ["owl"])
    assert "links to folders are not followed; copy what they lead to: owl" in (
        read_tagged(photos, OPTIONS, None).warnings
    )
