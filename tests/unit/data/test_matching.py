"""Names of photos, classes and splits, as files have them."""

import pytest

from affinitynet.data.matching import PhotoFinder, same_file
from affinitynet.data.names import clean_tags, is_background, list_names, normal_form, read_split

PHOTOS = [
    "rex",
    "dog/tom",
    "a.jpg",
    "a.png",
    "caf\u00e9",
    "x/same",
    "y/same",
    "Upper",
    "bäck\\slash",
]


@pytest.mark.parametrize(
    ("file", "photo"),
    [
        ("rex", "rex"),
        ("rex.jpg", "rex"),
        ("REX.JPG", "rex"),
        ("upper.png", "Upper"),
        (" ./rex.jpg ", "rex"),
        ("dog\\tom.jpg", "dog/tom"),
        ("C:\\photos\\dog\\tom.jpg", "dog/tom"),
        ("/home/me/photos/rex.jpg", "rex"),
        ("tom.jpg", "dog/tom"),
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
        ("a", None),
        ("cafe\u0301.jpg", "caf\u00e9"),
        ("same.jpg", None),
        ("x/same.jpg", "x/same"),
        ("z/same.jpg", None),
        ("cat/tom.jpg", None),
        ("bäck\\slash", "bäck\\slash"),
        ("https://host/photos/rex.jpg?token=1", "rex"),
        ("/data/upload/1/0a1b2c3d-rex.jpg", "rex"),
        ("0a1b2c3d-rex.jpg", "rex"),
        ("/data/local-files/?d=photos/dog/tom.jpg", "dog/tom"),
        ("s3://bucket/caf%C3%A9.jpg", "caf\u00e9"),
        ("gone.jpg", None),
        ("", None),
    ],
)
def test_a_photo_is_found_by_what_files_call_it(file, photo):
    assert PhotoFinder(PHOTOS).find(file) == photo


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("rex.jpg", "rex.jpg", True),
        ("./rex.jpg", "rex", True),
        ("a/rex.jpg", "A\\REX.JPG", True),
        ("rex.jpg", "photos/rex.jpg", False),
        ("rex.jpg", "rex.png", False),
        ("a/rex.jpg", "b/rex.jpg", False),
    ],
)
def test_two_names_of_one_file(first, second, same):
    assert same_file(first, second) == same


def test_names_of_classes_have_one_form():
    assert normal_form(" potted\u00a0\u202f plant\ufeff\n") == "potted plant"
    assert normal_form("cafe\u0301") == "caf\u00e9"
    tags = ["dog", "Dog", " dog", "", "Background", "_background_", "BACKGROUND_Google"]
    assert clean_tags(tags) == ["dog", "Dog"]
    assert not is_background("background noise")


def test_lists_of_names():
    assert list_names("cat;dog, small", ",;|") == ["cat", "dog, small"]
    assert list_names("cat,dog|owl", ",;|") == ["cat", "dog", "owl"]
    assert list_names(["potted\u00a0plant", 1], ",;|") == ["potted plant", "1"]
    assert list_names(None, ",;|") is None


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("VALID", "val"), ("validation", "val"), ("test ", "test"), ("dog", None)],
)
def test_names_of_splits(name, split):
    assert read_split(name) == split


def test_numbers_without_their_zeros_and_photos_beside_their_masks():
    finder = PhotoFinder(["007", "12", "012", "p.jpg"])
    assert [finder.find(name) for name in ("7", "12", "012", "p", "q")] == [
        "007",
        "12",
        "012",
        "p.jpg",
        None,
    ]
    assert PhotoFinder(["a.jpg", "a.png"]).find("a") is None
    assert PhotoFinder(["x/a", "y/a"]).list_possible("a.jpg") == ["x/a", "y/a"]
