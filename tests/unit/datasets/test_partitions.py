"""Per-image outputs: a version a run, complete only when closed."""

import base64
import pickle
from io import BytesIO

import numpy as np
import pytest
from kedro.io import DataCatalog, DatasetError, Version
from kedro_datasets.json import JSONDataset
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.datasets import LastPartitionsDataset, VersionedPartitionsDataset
from affinitynet.datasets.contact_sheet import contact_sheet

OLD, NEW = "2018-06-18T00.00.00.000Z", "2018-06-19T00.00.00.000Z"


@pytest.fixture
def make(tmp_path):
    def make(save=NEW, load=None, of=VersionedPartitionsDataset, **options):
        return of(
            path=str(tmp_path / "numbers"),
            dataset=JSONDataset,
            filename_suffix=".json",
            version=Version(load, save),
            **options,
        )

    return make


def contents(dataset):
    return {name: load() for name, load in dataset.load().items()}


def test_streamed_items_count_once_they_are_confirmed(make):
    dataset = make()
    dataset.save({"a": 1})
    dataset.save({"b": 2})
    assert not dataset.exists()
    assert {name: load() for name, load in dataset.done().items()} == {"a": 1, "b": 2}
    with pytest.raises(DatasetError, match="never completed"):
        dataset.load()
    dataset.confirm()
    assert dataset.exists()
    assert contents(dataset) == {"a": 1, "b": 2}
    assert contents(make(save=None)) == {"a": 1, "b": 2}


def test_items_may_be_saved_in_other_processes(make):
    dataset = make()
    save = pickle.loads(pickle.dumps(dataset.saver()))
    dataset.save({"a": save("a", 1)})
    assert {name: load() for name, load in dataset.done().items()} == {"a": 1}
    dataset.save({"b": save("b", 2), "c": 3})
    dataset.confirm()
    assert contents(dataset) == {"a": 1, "b": 2, "c": 3}


def test_the_newest_complete_version_is_loaded(make):
    old, new = make(OLD), make(NEW)
    old.save({"a": 1})
    old.confirm()
    new.save({"a": 2})
    assert contents(make("2018-06-20T00.00.00.000Z")) == {"a": 1}  # the newer is unfinished
    new.confirm()
    assert contents(make("2018-06-20T00.00.00.000Z")) == {"a": 2}
    assert contents(make(load=OLD)) == {"a": 1}


def test_a_run_reads_its_own_version(make):
    new = make(NEW)
    new.save({"a": 2})
    new.confirm()
    old = make(OLD)
    old.save({"a": 1})
    old.confirm()
    assert contents(old) == {"a": 1}


def test_a_complete_version_is_closed_until_it_is_reopened(make):
    dataset = make()
    dataset.save({"a": 1})
    dataset.confirm()
    with pytest.raises(DatasetError, match="must not exist"):
        dataset.save({"b": 2})
    dataset.reopen()
    dataset.save({"b": 2})
    dataset.confirm()
    assert contents(dataset) == {"a": 1, "b": 2}


def test_no_items_at_all_can_be_complete(make):
    dataset = make()
    dataset.save({})
    dataset.confirm()
    assert dataset.exists()
    assert contents(dataset) == {}


def test_files_that_went_missing_or_came_are_noticed(make, tmp_path):
    dataset = make()
    dataset.save({"a": 1, "b": 2})
    dataset.confirm()
    path = next(tmp_path.rglob("a.json"))
    path.unlink()
    with pytest.raises(DatasetError, match="holds 1 of the 2 items"):
        make(save=None).load()
    for name in ("a", "c"):
        path.with_name(f"{name}.json").write_text("1")
    with pytest.raises(DatasetError, match="holds 3 of the 2 items"):
        make(save=None).load()


def test_half_written_and_other_files_are_no_items(make, tmp_path):
    dataset = make()
    dataset.save({"a": 1})
    path = next(tmp_path.rglob("a.json"))
    for name in ("b.json.12345678.part", "notes.txt"):
        path.with_name(name).touch()
    dataset.confirm()
    assert contents(dataset) == {"a": 1}


def test_an_unfinished_version_is_not_read_even_if_it_is_named(make):
    make(OLD).save({"a": 1})
    assert not make(load=OLD).exists()
    with pytest.raises(DatasetError, match=f"{OLD}.*never completed.*resume=true"):
        make(load=OLD).load()


def test_nothing_exists_before_the_first_run(make):
    assert not make().exists()
    assert make().done() == {}
    make().reopen()
    with pytest.raises(DatasetError, match="Did not find any versions"):
        make().load()


def test_a_run_that_goes_on_finds_what_is_done(make):
    make().save({"a": 1})
    again = make(load=NEW)  # as a resumed run's catalog pins it
    assert again.done().keys() == {"a"}
    again.save({"b": 2})
    again.confirm()
    assert contents(again) == {"a": 1, "b": 2}


def test_an_item_that_fails_leaves_those_before_it(make):
    dataset = make()
    dataset.save({"a": 1})
    with pytest.raises(DatasetError):
        dataset.save({"b": object()})
    assert dataset.done().keys() == {"a"}
    assert not dataset.exists()


def test_only_the_last_items_are_kept(make):
    dataset = make(of=LastPartitionsDataset, keep=2)
    for epoch in range(1, 5):
        dataset.save({f"{epoch:04d}": epoch})
    assert dataset.done().keys() == {"0003", "0004"}
    dataset.confirm()
    assert contents(dataset) == {"0003": 3, "0004": 4}


def test_a_version_may_be_shared_by_several_folders(make, tmp_path):
    photos, lists = make(folder="JPEGImages"), make(folder="ImageSets/Segmentation")
    photos.save({"a": 1})
    lists.save({"train": ["a"]})
    photos.confirm()
    assert (tmp_path / "numbers" / NEW / "JPEGImages" / "a.json").exists()
    assert not lists.exists()
    lists.confirm()
    assert contents(make(save=None, folder="ImageSets/Segmentation")) == {"train": ["a"]}


def test_items_can_be_loaded_in_other_processes(make):
    dataset = make()
    dataset.save({"a": 1})
    dataset.confirm()
    assert pickle.loads(pickle.dumps(dataset.load()["a"]))() == 1


def test_any_file_system_will_do():
    def make(save):
        return VersionedPartitionsDataset(
            path="memory://bucket/numbers",
            dataset=JSONDataset,
            filename_suffix=".json",
            version=Version(None, save),
        )

    make(OLD).save({"a": 1})
    dataset = make(NEW)
    dataset.save({"a": 2})
    dataset.confirm()
    assert contents(make("2018-06-20T00.00.00.000Z")) == {"a": 2}


def test_it_is_configured_as_in_the_catalog(tmp_path):
    entry = {
        "type": "affinitynet.datasets.VersionedPartitionsDataset",
        "path": str(tmp_path),
        "dataset": "json.JSONDataset",
        "versioned": True,
        "metadata": {"kedro-viz": {"layer": "x"}},
    }
    catalog = DataCatalog.from_config({"{stage}.maps": entry}, save_version=NEW)
    catalog.save("cam.maps", {"a": 1})
    catalog.confirm("cam.maps")
    assert {name: load() for name, load in catalog.load("cam.maps").items()} == {"a": 1}
    old = DataCatalog.from_config({"cam.maps": entry}, load_versions={"cam.maps": NEW})
    assert old.exists("cam.maps")


def test_versioning_cannot_be_left_out(tmp_path):
    with pytest.raises(DatasetError, match="versioned: true"):
        VersionedPartitionsDataset(path=str(tmp_path), dataset=JSONDataset)


@pytest.mark.parametrize(
    ("item", "middle"),
    [
        (Image.new("RGB", (40, 30), "red"), (255, 0, 0)),
        (np.full((30, 40), 2, np.uint8), (0, 128, 0)),  # VOC's second colour
        (ClassMaps(np.array([0, 2]), np.full((2, 3, 4), [[[1]], [[0.2]]])), (51, 51, 51)),
    ],
)
def test_what_is_an_image_is_pictured(item, middle):
    sheet = contact_sheet({str(number): lambda: item for number in range(30)})
    picture = Image.open(BytesIO(base64.b64decode(sheet)))
    assert picture.size == (428, 324)
    assert picture.getpixel((52, 52)) == picture.getpixel((376, 268)) == middle


def test_what_is_no_image_is_not_pictured():
    for item in ("text", {"weights": np.zeros(3)}, np.zeros((2, 3), np.float32)):
        assert contact_sheet({"a": lambda item=item: item}) == ""


def test_contact_sheets_show_photos_upright_and_leave_out_what_cannot_be_read():
    photo = Image.new("RGB", (40, 20), "red")
    photo.paste("blue", (0, 0, 20, 20))
    photo.getexif()[0x0112] = 6
    sheet = contact_sheet({"a": lambda: photo, "b": lambda: 1 / 0})
    picture = Image.open(BytesIO(base64.b64decode(sheet)))
    assert picture.getpixel((52, 20)) == (0, 0, 255)
    assert picture.getpixel((52, 84)) == (255, 0, 0)
    assert picture.getpixel((160, 52)) == (255, 255, 255)


def test_contact_sheets_of_nothing_are_empty():
    assert contact_sheet({}) == ""
