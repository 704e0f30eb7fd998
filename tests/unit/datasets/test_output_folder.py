"""Output folders: a file that inference did not write is never replaced."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset

from affinitynet.datasets import FolderDataset, NamedPhotosDataset, OutputFolderDataset
from affinitynet.datasets.output_folder import RECORD, RECORD_FOLDER, begin_outputs
from affinitynet.errors import UserError


def output(path, parameter="output"):
    return OutputFolderDataset(
        parameter=parameter, path=str(path), dataset=JSONDataset, filename_suffix=".json"
    )


def photos(path):
    return NamedPhotosDataset(path=str(path), dataset="pillow.ImageDataset")


def test_files_are_written_again_by_another_run(tmp_path):
    output(tmp_path).save({"a": 1, "sub/b": 2})
    again = output(tmp_path)
    again.begin()
    again.save({"a": 3})
    assert {name: read() for name, read in output(tmp_path).load().items()} == {"a": 3, "sub/b": 2}
    output(tmp_path).begin()


def test_only_what_this_run_wrote_is_listed(tmp_path):
    output(tmp_path).save({"old": 1, "again": 1})
    run = output(tmp_path)
    run.begin()
    assert run.load() == {}
    save = run.saver()
    run.save({"again": save("again", 2), "new": 3})
    assert run.load().keys() == {"again", "new"}


@pytest.mark.parametrize("name", ["a.json", "b.json", "notes.txt", "sub/a.json"])
def test_a_file_of_the_user_s_is_named_and_kept(tmp_path, name):
    output(tmp_path).save({"a": 1})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"output={tmp_path} holds files .*{name}"):
        output(tmp_path).begin()
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_that_appears_during_the_run_is_kept(tmp_path):
    run = output(tmp_path)
    run.begin()
    (tmp_path / "a.json").write_text("mine")
    with pytest.raises(DatasetError, match=r"a\.json' was not written by an inference"):
        run.save({"a": 1})
    assert (tmp_path / "a.json").read_text() == "mine"


def test_symlinks_are_not_replaced_nor_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.json").write_text("mine")
    folder = tmp_path / "masks"
    output(folder).save({"a": 1})
    (folder / "a.json").unlink()
    (folder / "a.json").symlink_to(elsewhere / "a.json")
    (folder / "sub").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"a\.json \(a symlink\), sub \(a symlink\)"):
        output(folder).begin()
    for dataset in (
        output(folder),
        FolderDataset(
            path=str(folder), dataset=JSONDataset, filename_suffix=".json", read_only=False
        ),
    ):
        for name in ("a", "sub/a"):
            with pytest.raises(DatasetError, match="is a symlink: it is not replaced"):
                dataset.save({name: 2})
    assert (elsewhere / "a.json").read_text() == "mine"
    assert (folder / "a.json").is_symlink()


def test_the_folder_itself_may_be_a_symlink(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "masks").symlink_to(tmp_path / "disk")
    output(tmp_path / "masks").save({"sub/a": 1})
    output(tmp_path / "disk").begin()
    output(tmp_path / "masks").begin()


@pytest.mark.parametrize("moment", ["os.replace", "affinitynet.datasets.output_folder._line"])
def test_a_killed_run_leaves_only_files_of_ours(tmp_path, monkeypatch, moment):
    output(tmp_path).save({"a": 1, "b": 1})
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        output(tmp_path).save({"a": 2})
    os.waitpid(child, 0)
    run = output(tmp_path)
    run.begin()
    assert {name: read() for name, read in output(tmp_path).load().items()} == {"a": 1, "b": 1}
    run.save({"a": 2})
    output(tmp_path).begin()


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    output(tmp_path).save({"a": 1})
    with (tmp_path / RECORD_FOLDER / RECORD).open("ab") as file:
        file.write(b'\n["b.json", "01')
    output(tmp_path).save({"b": 2})
    output(tmp_path).begin()


def test_what_a_killed_run_left_half_written_is_swept_an_hour_later(tmp_path):
    output(tmp_path).save({"a": 1})
    for name, moment in (("old", 0), ("young", None)):
        (tmp_path / RECORD_FOLDER / name).touch()
        if moment is not None:
            os.utime(tmp_path / RECORD_FOLDER / name, (moment, moment))
    output(tmp_path).prepare()
    assert {path.name for path in (tmp_path / RECORD_FOLDER).iterdir()} == {RECORD, "young"}


def test_a_resumed_run_takes_its_own_files_for_done_and_no_others(tmp_path):
    now = datetime.now(UTC)
    output(tmp_path).save({"old": 1, "mine": 1, "ours": 1})
    os.utime(tmp_path / "old.json", (0, 0))
    (tmp_path / "mine.json").write_text("edited")
    assert output(tmp_path).done(since=now - timedelta(hours=1)).keys() == {"ours"}
    (tmp_path / "mine.json").unlink()
    run = output(tmp_path)
    run.begin(since=now - timedelta(hours=1))
    assert run.load().keys() == {"ours"}


def test_hidden_files_are_no_one_s_business(tmp_path):
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").touch()
    output(tmp_path).begin()


def test_folders_of_other_outputs_are_left_to_them(tmp_path):
    output(tmp_path / "confidences").save({"a": 1})
    output(tmp_path, "coco").save({"results": []})
    output(tmp_path, "coco").begin()


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        ("photos", "photos"),
        ("photos", "photos/masks"),
        ("link", "photos"),
        ("photos/*.jpg", "photos"),
        ("photos/**/*.jpg", "photos/new/masks"),
        ("photos/a.jpg", "photos"),
    ],
)
def test_outputs_among_photos_are_refused(tmp_path, images, folder):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_text("photo")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(UserError, match=r"output=.* lies in images="):
        begin_outputs([output(tmp_path / folder)], photos(tmp_path / images), None)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_photos_within_an_output_folder_are_refused(tmp_path):
    (tmp_path / "out/photos").mkdir(parents=True)
    (tmp_path / "out/photos/a.jpg").write_text("photo")
    with pytest.raises(UserError, match=r"holds files .*photos/a\.jpg"):
        begin_outputs([output(tmp_path / "out")], photos(tmp_path / "out/photos"), None)


@pytest.mark.parametrize("overlays", ["masks", "masks/overlays", "link"])
def test_outputs_in_one_another_are_refused(tmp_path, overlays):
    (tmp_path / "link").symlink_to(tmp_path / "masks")
    folders = [output(tmp_path / "masks"), output(tmp_path / overlays, "overlays")]
    with pytest.raises(UserError, match="Name folders side by side"):
        begin_outputs(folders, photos(tmp_path / "photos"), None)


def test_an_object_store_s_folder_must_be_empty(tmp_path):
    run = OutputFolderDataset(
        parameter="output", path="memory://masks", dataset=JSONDataset, filename_suffix=".json"
    )
    begin_outputs([run], photos(tmp_path), None)
    run.save({"a": 1})
    assert run.load().keys() == {"a"}
    with pytest.raises(UserError, match=r"output=memory://masks holds files"):
        run.begin()
    run.begin(since=datetime.now(UTC) - timedelta(hours=1))
    assert run.load().keys() == {"a"}
