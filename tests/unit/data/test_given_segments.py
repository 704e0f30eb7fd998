"""Regions that another program made of the photos."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from affinitynet.core.segments import SLIC
from affinitynet.data.given_segments import match_segments
from affinitynet.datasets import SegmentsDataset
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipelines.revision.nodes import check_segments
from affinitynet.stages.parameters import Vote


@pytest.fixture
def index():
    rows = [("train", 48, 32, "cat"), ("train", 48, 32, "dog"), ("train", 48, 32, "")]
    rows.append(("val", 48, 32, "dog"))
    columns = ["split", "width", "height", "tags"]
    return pd.DataFrame(rows, ["a/rex", "tom", "empty", "seen"], columns).rename_axis("id")


def write(folder, name, size=(48, 32), regions=2):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(size[0] * size[1]).reshape(size[::-1]) % (regions + 1)
    Image.fromarray(values.astype(np.uint16)).save(path)


def check(folder, index):
    given = SegmentsDataset(path=str(folder)).load()
    return check_segments(index, given, Vote(segments=str(folder)), Execution(workers=1))


def test_all_tagged_training_photos_have_regions(tmp_path, index):
    write(tmp_path, "rex", regions=4)
    write(tmp_path, "deep/tom", size=(96, 64))
    assert check(tmp_path, index) == {"photos": 2, "regions": 3.0}
    found = match_segments(SegmentsDataset(path=str(tmp_path)).load(), index.index)
    assert found.keys() == {"a/rex", "tom"}
    assert found["tom"]().size == (96, 64)


def test_what_does_not_fit_is_named(tmp_path, index):
    write(tmp_path, "rex", size=(32, 48))
    with pytest.raises(UserError) as error:
        check(tmp_path, index)
    lines = str(error.value).splitlines()
    assert re.fullmatch("segments=.*: the regions do not fit the photos:", lines[0])
    assert lines[1:] == [
        "  tom: there are no regions of the photo",
        "  a/rex: the regions are 32 x 48, the photo 48 x 32",
    ]


def test_empty_and_foreign_files_are_named(tmp_path, index):
    write(tmp_path, "rex", regions=0)
    (tmp_path / "tom.png").write_text("no image")
    with pytest.raises(UserError, match=r"(?s)rex: there are no regions.*tom: .* cannot be read"):
        check(tmp_path, index)


@pytest.mark.parametrize("path", [None, SLIC])
def test_without_a_folder_there_are_none(path, index):
    segments = SegmentsDataset(path=path)
    assert segments.load() == {}
    assert segments.fingerprint() == "none"
    assert check_segments(index, {}, Vote(segments=SLIC), Execution()) == {}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda values: Image.fromarray(values.astype(np.uint8)), "is a JPEG"),
        (lambda values: Image.fromarray(-values.astype(np.int32)), "numbers below 0"),
        (lambda values: Image.fromarray((values / 3).astype(np.float32)), "with fractions"),
    ],
)
def test_numbers_that_are_no_regions_are_refused(tmp_path, index, make, reason):
    suffix = "jpg" if "JPEG" in reason else "tif"
    for name in ("rex", "tom"):
        make(np.arange(48 * 32).reshape(32, 48) % 3).save(tmp_path / f"{name}.{suffix}")
    with pytest.raises(UserError, match=reason):
        check(tmp_path, index)
