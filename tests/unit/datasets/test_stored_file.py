"""Files that are taken over: copies that share nothing, links where they are asked for."""

import os

import pytest
from kedro.io import DatasetError

from affinitynet.datasets import StoredFileDataset
from affinitynet.datasets.stored_file import LocalFile


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def taken_over(tmp_path, data):
    path = tmp_path / "new" / "copy.jpg"
    StoredFileDataset(filepath=str(path)).save(data)
    assert [*path.parent.iterdir()] == [path]
    return path


def cannot(*_):
    raise OSError("not on this file system")


@pytest.mark.parametrize("reflink", [True, False])
def test_a_copy_shares_nothing_with_the_original(tmp_path, photo, monkeypatch, reflink):
    if not reflink:
        monkeypatch.setattr(os, "copy_file_range", cannot)
    content = photo.read_bytes()
    copy = taken_over(tmp_path, LocalFile(photo))
    assert copy.read_bytes() == content
    with copy.open("r+b") as file:
        file.write(b"edited")
    assert photo.read_bytes() == content


def test_a_link_is_a_copy_where_the_file_system_has_none(tmp_path, photo, monkeypatch):
    assert taken_over(tmp_path, LocalFile(photo, link=True)).samefile(photo)
    assert taken_over(tmp_path, LocalFile(photo, link=True)).samefile(photo)
    monkeypatch.setattr(os, "link", cannot)
    copy = taken_over(tmp_path, LocalFile(photo, link=True))
    assert not copy.samefile(photo)
    assert copy.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("link", [True, False])
def test_a_file_that_is_gone_is_named(tmp_path, photo, link):
    photo.unlink()
    with pytest.raises(DatasetError, match=r"photo\.jpg' is gone"):
        taken_over(tmp_path, LocalFile(photo, link))
    assert not [*(tmp_path / "new").iterdir()]
