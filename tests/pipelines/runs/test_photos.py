"""A photo that was removed or changed since ingestion is named when a stage begins."""

import os

import numpy as np
import pytest
from kedro_datasets.pillow import ImageDataset
from PIL import Image

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


def test_a_file_is_reported_by_its_size_and_its_ends_not_by_its_time(tmp_path):
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


def test_a_stage_names_the_photos_that_are_not_what_they_were(project, tmp_path):
    folder = tmp_path / "photos"
    noise = np.random.default_rng(0)
    for number in range(6):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    own = {"images": str(folder), "execution.workers": 1, "data_set.val_share": 0.34}
    own |= {"backbone": "test_resnet", "weights": None}
    own |= {f"{stage}.training.epochs": 0 for stage in ("cam", "affinity_training", "segmentation")}
    own |= {"cam.training.frozen": []}
    options = {"env": "tagged", "parameters": own}
    project.run("ingestion", **options)
    Image.new("RGB", (32, 32)).save(folder / "new.png")
    (folder / "cat" / "1.png").unlink()
    with (folder / "dog" / "2.png").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match="removed or changed since ingestion") as error:
        project.run("cam", **options)
    message = str(error.value)
    assert "\n  cat/1: removed\n" in message
    assert "\n  dog/2: changed, " in message
    assert message.endswith("run ingestion again: kedro run --env tagged --pipeline ingestion")
    assert len(project.records) == 1
    (folder / "new.png").unlink()
    project.run("ingestion", **options)
    project.run("cam", to_nodes=["cam.train"], **options)
    assert project.record()["finished"]


def test_a_stage_refuses_the_maps_of_other_photos_with_the_same_names(project, tmp_path):
    noise = np.random.default_rng(0)
    own = {"execution.workers": 1, "data_set.val_share": 0.34, "cam.training.frozen": []}
    own |= {"backbone": "test_resnet", "weights": None}
    own |= {f"{stage}.training.epochs": 0 for stage in ("cam", "affinity_training", "segmentation")}
    for name in ("one", "other"):
        for number in range(6):
            path = tmp_path / name / ("cat" if number % 2 else "dog") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)).save(path)

    def run(*pipelines, images, **options):
        images = str(tmp_path / images)
        project.run(*pipelines, env="tagged", parameters=own | {"images": images}, **options)

    run("ingestion", "cam", images="one")
    run("ingestion", images="other")
    with pytest.raises(UserError, match="made of different data sets") as error:
        run("affinity_labels", images="other")
    assert "\n  cam.maps " in str(error.value)
    run("ingestion", images="one")
    run("affinity_labels", images="one")
    assert project.record()["finished"]
