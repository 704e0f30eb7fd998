"""What a run writes to is looked at before anything is written."""

import os

import pytest

from affinitynet.errors import UserError
from affinitynet.runs.places import check_database, check_places


def test_folders_that_are_not_there_yet_will_do(tmp_path):
    check_places({"data": tmp_path / "a/b", "exported": tmp_path}, tmp_path / "photos")
    check_database(tmp_path / "a/mlflow.db")
    assert not [*tmp_path.iterdir()]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "tags.csv").touch()
    for folder in (tmp_path / "tags.csv", tmp_path / "tags.csv/data"):
        with pytest.raises(UserError, match=r"^data=.*tags\.csv is no folder"):
            check_places({"data": folder}, None)


def test_what_is_written_does_not_lie_among_the_photos(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    for folder in (photos, photos / "deep/exp", tmp_path / "link/exp"):
        with pytest.raises(UserError, match=r"^exported=.*lies among the photos"):
            check_places({"exported": folder}, photos)


def test_mlflow_s_database_is_one(tmp_path):
    (tmp_path / "tags.csv").write_text("file,tags")
    (tmp_path / "empty.db").touch()
    check_database(tmp_path / "empty.db")
    with pytest.raises(UserError, match=r"tags\.csv: is no SQLite database"):
        check_database(tmp_path / "tags.csv")
    with pytest.raises(UserError, match=r"^mlflow_db=.*: is a folder"):
        check_database(tmp_path)


def test_permission_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match=r"^data=.*nothing may be written to"):
        check_places({"data": tmp_path / "data"}, None)
    with pytest.raises(UserError, match=r"^mlflow_db=.*nothing may be written to"):
        check_database(tmp_path / "mlflow.db")
