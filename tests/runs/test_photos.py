"""A photo that was removed or changed since ingestion is named when a stage begins."""

import os

import pytest
from kedro_datasets.pillow import ImageDataset

from affinitynet.datasets import FolderDataset
from affinitynet.datasets.folder import FileState
from affinitynet.errors import UserError
from affinitynet.runs.photos import list_changes

BEFORE = {"a": FileState(1, "1"), "b": FileState(2, "2"), "c": FileState(3, "3")}


def test_photos_that_changed_are_named_and_what_happened_to_them():
    now = {"a": FileState(5, "1"), "c": FileState(3, "4"), "new": FileState(9, "9")}
    assert [*list_changes(["a", "b", "c"], BEFORE, now)] == [
        "a: changed, 1 bytes then, 5 now",
        "b: removed",
        "c: changed",
    ]
    assert not [*list_changes([], BEFORE, now)]
    assert not [*list_changes(BEFORE, BEFORE, BEFORE | now | BEFORE)]


def test_a_file_is_told_by_its_size_and_its_ends_not_by_its_time(tmp_path):
    photos = FolderDataset(path=str(tmp_path), dataset=ImageDataset, filename_suffix=".jpg")
    for name, content in (("a", b"1" * 10_000), ("b", b"2"), ("c", b"")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    before = photos.states()
    os.utime(tmp_path / "a.jpg", (0, 0))
    assert photos.states() == before
    (tmp_path / "a.jpg").write_bytes(b"1" * 9_999 + b"2")
    (tmp_path / "b.jpg").write_bytes(b"3")
    (tmp_path / "c.jpg").unlink()
    changed = [line.split(":")[0] for line in list_changes(before, before, photos.states())]
    assert changed == ["a", "b", "c"]


def test_a_stage_names_the_photos_that_are_not_what_they_were(finished_copy, tmp_path):
    (scenes,) = finished_copy.data.glob("01_raw/scenes/*")
    voc = {"voc_root": str(scenes), "mask_folder": "SegmentationClass"}
    voc |= {"data_set.classes": ["car", "fish"], "data_set.mask_classes": ["car", "fish"]}
    voc |= {"data_set.strict": False, "data_set.splits": {"train": "train", "val": "val"}}
    voc |= {f"{stage}.training.epochs": 0 for stage in ("cam", "affinity_training", "segmentation")}
    finished_copy.run("ingestion", env="voc_cpu", parameters=voc)
    index = finished_copy.catalog(env="voc_cpu", parameters=voc).load("index")
    first, second, *_ = index.index
    (scenes / "JPEGImages" / "unused.jpg").write_bytes(b"no photo of the index")
    (scenes / "JPEGImages" / f"{first}.jpg").unlink()
    with (scenes / "JPEGImages" / f"{second}.jpg").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="removed or changed since ingestion") as error:
        finished_copy.run("cam", env="voc_cpu", parameters=voc)
    message = str(error.value)
    assert f"\n  {first}: removed\n  {second}: changed, " in message
    assert "run ingestion again: kedro run --env voc_cpu --pipeline ingestion" in message
    finished_copy.run("ingestion", env="voc_cpu", parameters=voc)
    finished_copy.run(
        env="voc_cpu", node_names=["cam.initialise"], parameters=voc | {"cam.network.weights": None}
    )
