from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pytest
from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.pillow import ImageDataset
from PIL import Image

from affinitynet.core.label_maps import voc_palette
from affinitynet.datasets import AtomicLocalFileSystem, FolderDataset, LabelMapDataset


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "file.txt"
    with fsspec.open(str(path), "w") as file:
        file.write("half")
        assert not path.exists()
    assert path.read_text() == "half"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    dataset = JSONDataset(filepath=str(path))
    dataset.save({"a": 1})
    with pytest.raises(DatasetError):
        dataset.save({"a": object()})
    assert dataset.load() == {"a": 1}
    assert [*tmp_path.iterdir()] == [path]


def test_the_file_system_serves_all_local_paths(tmp_path):
    assert isinstance(fsspec.filesystem("file"), AtomicLocalFileSystem)
    with fsspec.open(str(tmp_path / "log"), "a") as file:
        file.write("appending is as it was")
    assert (tmp_path / "log").read_text() == "appending is as it was"


def folder(path, **options):
    return FolderDataset(path=str(path), dataset=JSONDataset, filename_suffix=".json", **options)


def test_a_missing_folder_has_no_partitions(tmp_path):
    assert folder(tmp_path / "nowhere").load() == {}


def test_the_user_s_folder_is_never_written_to(tmp_path):
    with pytest.raises(DatasetError, match="only read"):
        folder(tmp_path).save({"a": 1})
    assert not [*tmp_path.iterdir()]


def test_partitions_written_since_a_moment_are_told(tmp_path):
    dataset = folder(tmp_path, read_only=False)
    dataset.save({"a": 1})
    now = datetime.now(UTC)
    assert dataset.done(since=now - timedelta(hours=1)).keys() == {"a"}
    assert dataset.done(since=now + timedelta(hours=1)) == {}


def test_half_written_files_are_no_partitions(tmp_path):
    (tmp_path / "a.json.1234.part").touch()
    assert FolderDataset(path=str(tmp_path), dataset=JSONDataset).load() == {}


def test_fingerprint_changes_with_the_files(tmp_path):
    dataset = folder(tmp_path, read_only=False)
    dataset.save({"a": 1})
    before = dataset.fingerprint()
    assert before.startswith("1 files, ")
    assert dataset.fingerprint() == before
    dataset.save({"a": 123})
    assert dataset.fingerprint() != before


def test_label_maps_are_indexed_pngs_in_voc_colours(tmp_path):
    path = tmp_path / "mask.png"
    labels = np.array([[0, 8, 255]], np.uint8)
    LabelMapDataset(filepath=str(path)).save(labels)
    image = Image.open(path)
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((1, 0)) == tuple(voc_palette()[8].tolist())
    np.testing.assert_array_equal(LabelMapDataset(filepath=str(path)).load(), labels)


def test_colour_images_are_no_label_maps(tmp_path):
    path = tmp_path / "mask.png"
    ImageDataset(filepath=str(path)).save(Image.new("RGB", (2, 2)))
    with pytest.raises(DatasetError, match="is a RGB image"):
        LabelMapDataset(filepath=str(path)).load()
