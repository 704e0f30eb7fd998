"""Files that are atomic, folders of the user's, and label maps."""

import os
import pickle
import signal
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, DatasetError, Version
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.pillow import ImageDataset
from kedro_datasets.text import TextDataset
from kedro_datasets_experimental.pytorch import PyTorchDataset
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import voc_palette
from affinitynet.datasets import (
    ArraysDataset,
    AtomicLocalFileSystem,
    CheckpointDataset,
    ClassMapsDataset,
    FolderDataset,
    LabelMapDataset,
    NamedPhotosDataset,
)


class Breaks:
    """Something that fails when it is written."""

    def __str__(self):
        raise RuntimeError("in the middle")

    def state_dict(self):
        return {"good": torch.zeros(9), "bad": self}

    def __reduce__(self):
        raise RuntimeError("in the middle")


def picture(mode):
    return Image.new(mode, (4, 4))


def test_arrays_are_what_they_were_however_they_lie_in_memory(tmp_path):
    table = np.arange(24.0).reshape(2, 3, 4)
    arrays = {"turned": table.T, "striped": table[:, ::2], "one": np.array(7)}
    dataset = ArraysDataset(filepath=str(tmp_path / "arrays.safetensors"))
    dataset.save(arrays)
    for name, array in dataset.load().items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.shape == arrays[name].shape


def test_checkpoints_and_class_maps_are_what_they_were(tmp_path):
    network = torch.nn.Linear(2, 1)
    checkpoint = Checkpoint({"kind": "cam"}, dict(network.state_dict()), {"epoch": 3})
    dataset = CheckpointDataset(filepath=str(tmp_path / "model.pt"))
    dataset.save(checkpoint)
    loaded = dataset.load()
    assert (loaded.config, loaded.progress) == (checkpoint.config, checkpoint.progress)
    network.load_state_dict(loaded.weights)
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys() == vars(checkpoint).keys()

    maps = ClassMaps(np.array([1, 3], np.uint8), np.ones((2, 3, 4), np.float16))
    stored = ClassMapsDataset(filepath=str(tmp_path / "maps.safetensors"))
    stored.save(maps)
    arrays = ArraysDataset(filepath=str(tmp_path / "maps.safetensors")).load()
    for name, array in vars(stored.load()).items():
        np.testing.assert_array_equal(array, getattr(maps, name))
        assert array.dtype == arrays[name].dtype == getattr(maps, name).dtype


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_appears_only_when_it_is_complete(tmp_path, mode):
    path = tmp_path / "file"
    with fsspec.filesystem("file").open(str(path), mode) as file:
        file.write("half" if mode == "w" else b"half")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "half"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_an_error_in_the_middle_leaves_nothing(tmp_path, mode):
    def write():
        with fsspec.filesystem("file").open(str(tmp_path / "file"), mode) as file:
            file.write("half" if mode == "w" else b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert [*tmp_path.iterdir()] == []


SAVED = [  # what writes a file, something that it can write, and something that it cannot
    (JSONDataset, "file.json", {"a": 1}, {"a": 1, "b": object()}),
    (CSVDataset, "file.csv", pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1, Breaks()]})),
    (TextDataset, "file.txt", "text", 5),
    (ImageDataset, "file.jpg", picture("RGB"), picture("RGBA")),
    (LabelMapDataset, "file.png", np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2, 2), np.uint8)),
    (PyTorchDataset, "file.pt", torch.nn.Linear(1, 1), Breaks()),
    (
        CheckpointDataset,
        "model.pt",
        Checkpoint({"kind": "cam"}, {}),
        Checkpoint({"a": Breaks()}, {}),
    ),
    (ArraysDataset, "file.safetensors", {"a": np.ones(2)}, {"a": "no tensor"}),
]


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"), SAVED, ids=lambda x: getattr(x, "__name__", "")
)
@pytest.mark.parametrize("before", [True, False])
def test_a_save_that_fails_leaves_what_was_there(tmp_path, kind, name, good, bad, before):
    path = tmp_path / name
    dataset = kind(filepath=str(path))
    if before:
        dataset.save(good)
        was = path.read_bytes()
    with pytest.raises(DatasetError):
        dataset.save(bad)
    if before:
        assert path.read_bytes() == was
    assert [*tmp_path.iterdir()] == [path] * before


@pytest.mark.parametrize("before", [True, False])
def test_a_process_that_is_killed_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "a.json"
    if before:
        JSONDataset(filepath=str(path)).save({"a": 1})
    child = os.fork()
    if child == 0:
        with fsspec.filesystem("file").open(str(path), "wb") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len([*tmp_path.glob("*.part")]) == 1
    assert path.exists() == before
    everything = FolderDataset(path=str(tmp_path), dataset=JSONDataset)
    assert [*everything.load()] == ["a.json"] * before


def test_the_file_system_serves_all_local_paths(tmp_path):
    assert isinstance(fsspec.filesystem("file"), AtomicLocalFileSystem)
    assert isinstance(fsspec.filesystem("local"), AtomicLocalFileSystem)
    with fsspec.open(str(tmp_path / "log"), "a") as file:
        file.write("appending is as it was")
    assert (tmp_path / "log").read_text() == "appending is as it was"
    with fsspec.filesystem("file").open(str(tmp_path / "log")) as file:
        assert file.read() == b"appending is as it was"


def folder(path, **options):
    return FolderDataset(path=str(path), dataset=JSONDataset, filename_suffix=".json", **options)


@pytest.mark.parametrize("name", ["a[1]", "a*b?", "a #%,=b", "[z]"])
def test_a_folder_may_have_any_name(tmp_path, name):
    folder = tmp_path / name / "json"
    for version in ("2026-01-01T00.00.00.000Z", "2026-01-02T00.00.00.000Z"):
        JSONDataset(filepath=str(folder), version=Version(None, version)).save({"at": version})
    newest = JSONDataset(filepath=str(folder), version=Version(None, None))
    assert newest.load() == {"at": "2026-01-02T00.00.00.000Z"}
    assert len(fsspec.filesystem("file").glob(f"{tmp_path}/*/json/*")) == 2


def test_a_pattern_below_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "a[1]*"
    (folder / "below").mkdir(parents=True)
    for name in ("one.jpg", "below/two.jpg", "[3].jpg"):
        picture("RGB").save(folder / name)

    def names(pattern):
        return sorted(NamedPhotosDataset(path=f"{folder}{pattern}", dataset=ImageDataset).load())

    assert names("") == names("/**/*.jpg") == ["[3].jpg", "below/two.jpg", "one.jpg"]
    assert names("/[3].jpg") == ["[3].jpg"]
    assert names("/[no]*.jpg") == ["one.jpg"]


def test_folder_saves_and_loads(tmp_path):
    dataset = folder(tmp_path / "new", read_only=False)
    dataset.save({"a": 1, "sub/b": 2})
    dataset.save({"a": 3})
    assert {name: load() for name, load in dataset.load().items()} == {"a": 3, "sub/b": 2}


def test_folder_sees_files_that_came_since(tmp_path):
    dataset = folder(tmp_path)
    assert dataset.load() == {}
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "a.txt").write_text("no partition")
    assert dataset.load().keys() == {"a"}


def test_a_missing_folder_has_no_partitions(tmp_path):
    assert folder(tmp_path / "nowhere").load() == {}
    assert folder(tmp_path / "nowhere").fingerprint().startswith("0 files")


def test_a_link_to_nothing_has_a_state_too(tmp_path):
    """Folders of git-annex consist of such links until their files are fetched."""
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    states = folder(tmp_path).states()
    assert states["a"].size == 1
    assert states["gone"].digest == "unreadable: No such file or directory"


def test_a_folder_that_cannot_be_listed_is_named_as_a_run_begins(tmp_path, monkeypatch, caplog):
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.json").write_text("1")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = folder(tmp_path)
    assert dataset.load().keys() == {"a"}
    assert dataset.fingerprint().startswith("1 files")
    assert caplog.text.count("locked: the folder cannot be read (Permission denied)") == 1


def test_the_user_s_folder_is_never_written_to(tmp_path):
    with pytest.raises(DatasetError, match="only read"):
        folder(tmp_path).save({"a": 1})
    assert not [*tmp_path.iterdir()]


def test_partitions_are_saved_as_they_are_not_called(tmp_path):
    dataset = FolderDataset(
        path=str(tmp_path), dataset=PyTorchDataset, filename_suffix=".pt", read_only=False
    )
    dataset.save({"network": torch.nn.Linear(2, 1)})  # callable, and must not be called
    assert dataset.load()["network"]().keys() == {"weight", "bias"}


def test_partitions_written_since_a_moment_are_reported(tmp_path):
    dataset = folder(tmp_path, read_only=False)
    dataset.save({"a": 1, "b": 2})
    now = datetime.now(UTC)
    os.utime(tmp_path / "b.json", (0, 0))
    assert dataset.done(since=now - timedelta(hours=1)).keys() == {"a"}
    assert dataset.done(since=now + timedelta(hours=1)) == {}


def test_fingerprint_changes_with_the_files(tmp_path):
    dataset = folder(tmp_path, read_only=False)
    dataset.save({"a": 1})
    before = dataset.fingerprint()
    assert before.startswith("1 files, ")
    assert dataset.fingerprint() == before
    dataset.save({"a": 123})
    longer = dataset.fingerprint()
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    assert len({before, longer, dataset.fingerprint()}) == 3


def test_folder_items_can_be_loaded_in_other_processes(tmp_path):
    (tmp_path / "a.json").write_text("1")
    assert pickle.loads(pickle.dumps(folder(tmp_path).load()["a"]))() == 1


def test_label_maps_are_indexed_pngs_in_voc_colours(tmp_path):
    path = tmp_path / "mask.png"
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    LabelMapDataset(filepath=str(path)).save(labels)
    image = Image.open(path)
    assert image.mode == "P"
    assert image.size == (32, 8)
    assert image.getpalette() == voc_palette().ravel().tolist()
    assert voc_palette()[8].tolist() == [64, 0, 0]  # VOC's cat
    found = LabelMapDataset(filepath=str(path)).load()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("values", [[[0, 1]], [[0, 0]], [[255, 3]]])
def test_few_values_are_kept_as_they_are(tmp_path, values):
    dataset = LabelMapDataset(filepath=str(tmp_path / "mask.png"))
    dataset.save(np.array(values))
    assert dataset.load().tolist() == values


def test_grey_images_are_label_maps_and_unknown_colours_are_refused(tmp_path):
    path = tmp_path / "mask.png"
    Image.new("L", (3, 2), 7).save(path)
    assert LabelMapDataset(filepath=str(path)).load().tolist() == [[7, 7, 7], [7, 7, 7]]
    for mode, colour in (("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 255)), ("I;16", 1000)):
        Image.new(mode, (2, 2), colour).save(path)
        with pytest.raises(DatasetError, match=r"mask\.png"):
            LabelMapDataset(filepath=str(path)).load()


def test_datasets_are_configured_as_in_the_catalog(tmp_path):
    catalog = DataCatalog.from_config(
        {
            "masks": {
                "type": "affinitynet.datasets.FolderDataset",
                "path": str(tmp_path),
                "filename_suffix": ".png",
                "read_only": False,
                "dataset": "affinitynet.datasets.LabelMapDataset",
                "metadata": {"kedro-viz": {"layer": "x"}},
            }
        }
    )
    catalog.save("masks", {"a": np.ones((1, 2), np.uint8)})
    assert catalog.load("masks")["a"]().tolist() == [[1, 1]]
    assert catalog.get("masks").metadata == {"kedro-viz": {"layer": "x"}}


def test_photos_that_are_not_read_are_listed_unless_they_are_there_in_another_format(tmp_path):
    for name in ("a.jpg", "a.CR2", "b.NEF", "notes.txt", "__MACOSX/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = NamedPhotosDataset(
        path=str(tmp_path), dataset="affinitynet.datasets.PhotoDataset"
    ).load()
    assert [*photos] == ["a.jpg", "b.NEF"]
    with pytest.raises(DatasetError, match=r"\.nef is not read; convert it"):
        photos["b.NEF"]()
