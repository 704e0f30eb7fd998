"""The page of the data report."""

import re
from functools import partial

import pandas as pd
import pytest
from PIL import Image

from affinitynet.execution import Execution
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.ingestion.page import show_data

EVIL = '<img src=x onerror="alert(1)">'


def read_broken():
    raise OSError("gone")


@pytest.fixture(scope="module")
def page():
    rows = {
        "a": ("train", "cat", "", 0),
        "b": ("val", "dog", "", 0),
        "c/1": ("train", "cat|dog", "", 1),
        "c/2": ("train", "cat|dog", "", 1),
        "d": ("train", "", "", 2),
        EVIL: ("train", "dog", "", 3),
        "broken": ("train", "dog", "cannot be read", 4),
    }
    inspected = pd.DataFrame.from_dict(
        rows, orient="index", columns=["split", "tags", "problem", "group"]
    )
    counts = pd.DataFrame(
        {"class": ["cat", "dog", "(no tag)"], "train": [3, 3, 1], "val": [0, 1, 0]}
    )
    report = {
        "photos": {"train": 5, "val": 1},
        "left_out": {"photos": 1, "why": {"broken": "cannot be read"}},
        "near_duplicates": {"groups": 2, "photos": [["a", "b"], ["c/1", "c/2"]]},
        "warnings": [
            "2 groups of near-duplicates: a = b, c/1 = c/2",
            "tags without masks: d (dog)",
        ],
        "repaired": {"turned as its EXIF says": 7},
        "some_later_part": ["one", {"two": 2}],
    }
    colours = dict(
        zip(rows, ("red", "red", "blue", "blue", "green", "black", "white"), strict=True)
    )
    photos = {name: partial(Image.new, "RGB", (40, 30), colour) for name, colour in colours.items()}
    run = RunDescription("2026-11-27T10.04.19.000Z", "tagged", "pets")
    return show_data(report, inspected, counts, photos, run, Execution(workers=1))["index"]


def part(page, name):
    return re.search(rf'<h2 id="{name}">.*?(?=<h2|</main>)', page, re.DOTALL)[0]


def test_it_says_what_the_data_set_is(page):
    assert "<title>pets, 2026-11-27 10:04 UTC: the data set</title>" in page
    assert "<dt>train</dt><dd>5</dd>" in page


def test_near_duplicates_are_shown_those_with_different_tags_first(page):
    first, second = part(page, "alike").split('<div class="group">')[1:]
    assert "their tags differ" in first
    assert "in train and val" in first
    assert first.count("data:image/webp") == 2
    assert "their tags differ" not in second
    assert "train: cat, dog" in second


def test_the_photos_that_a_warning_names_are_shown(page):
    first, second = part(page, "warnings").split('<div class="group">')[1:]
    assert "<img" not in first  # the groups show them
    assert second.count("<img") == 1


def test_what_is_left_out_is_listed_with_the_reason(page):
    assert re.search(r"broken</th><td>cannot be read", part(page, "left-out"))


def test_classes_have_examples(page):
    cat, dog, untagged = part(page, "classes").split('<div class="group">')[1:]
    assert "3 in train, 0 in val" in cat
    assert [block.count("<img") for block in (cat, dog, untagged)] == [3, 4, 1]


def test_parts_of_the_report_that_it_does_not_know_are_shown(page):
    others = part(page, "others")
    assert "turned as its EXIF says" in others
    assert "some later part" in others


def test_it_needs_nothing_else_and_escapes_names(page):
    assert EVIL not in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "://" not in page


def test_a_photo_that_has_gone_is_named_without_a_picture():
    inspected = pd.DataFrame(
        {"split": "train", "tags": "cat", "problem": "", "group": [0]}, pd.Index(["a"])
    )
    counts = pd.DataFrame({"class": ["cat"], "train": [1], "val": [0]})
    report = {
        "photos": {"train": 1},
        "left_out": {"why": {}},
        "near_duplicates": {"groups": 0},
        "warnings": [],
    }
    page = show_data(
        report, inspected, counts, {"a": read_broken}, RunDescription(), Execution(workers=1)
    )["index"]
    assert "<span>a</span>" in page
    assert "<img" not in page
