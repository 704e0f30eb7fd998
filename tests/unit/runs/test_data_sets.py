"""A stage refuses inputs that were made of another data set."""

import json

import pytest
from kedro.io import DataCatalog, Version
from kedro_datasets.json import JSONDataset
from kedro_datasets.text import TextDataset

from affinitynet.datasets import CheckpointDataset
from affinitynet.errors import UserError
from affinitynet.runs.data_sets import check_data_sets
from affinitynet.runs.record import RunRecord

OLD, NEW, LATER = (f"{year}-06-18T00.00.00.000Z" for year in (2018, 2019, 2020))
INDEX = "id,split,width,height,tags\na,train,8,6,cat\nb,val,8,6,dog\n"


def record(version, inputs, outputs):
    return RunRecord(version, "base", [], [], {}, "", "", inputs, outputs)


@pytest.fixture
def check(tmp_path):
    """Compare maps and a network of the index OLD with the index NEW, as its contents are."""

    def check(index=INDEX, classes=("cat", "dog"), photos="1", names=("cam.maps", "cam.model")):
        files = {
            "index": (TextDataset, "index.csv", {OLD: INDEX, NEW: index}),
            "classes": (JSONDataset, "classes.json", {OLD: ["cat", "dog"], NEW: [*classes]}),
        }
        catalog = DataCatalog()
        for name, (kind, file, versions) in files.items():
            for version, content in versions.items():
                path = tmp_path / file / version / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content if isinstance(content, str) else json.dumps(content))
            catalog[name] = kind(filepath=str(tmp_path / file), version=Version(None, LATER))
        catalog["cam.maps"] = TextDataset(filepath="maps", version=Version(None, LATER))
        catalog["cam.model"] = CheckpointDataset(filepath="model", version=Version(None, LATER))
        (tmp_path / "photos").mkdir(exist_ok=True)
        for version, digest in ((OLD, "1"), (NEW, photos)):
            states = {"a": [1, digest], "b": [2, "2"]}
            (tmp_path / f"photos/{version}.json").write_text(json.dumps(states))
        records = [
            record(OLD, {}, ["index", "classes", "cam.maps", "cam.model"]),
            record(NEW, {}, ["index", "classes"]),
        ]
        inputs = {"index": NEW} | dict.fromkeys(names, OLD)
        check_data_sets(catalog, inputs, records, str(tmp_path), env=" --env tagged")

    return check


def test_the_same_data_set_read_again_is_no_other_one(check):
    check()
    check("id,split,width,height,tags\nb,val,8,6,dog\na,train,8,6,cat\n")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"index": INDEX + "c,val,8,6,dog\n"}, "it lacks 1 of the 3 photos"),
        ({"index": INDEX.partition("b,")[0]}, "it has 1 photos more"),
        ({"index": INDEX.replace("cat", "dog")}, "its photos have other tags"),
        ({"index": INDEX.replace("8", "9")}, "its photos have other width"),
        ({"photos": "9"}, "its photos have the same names, but other contents"),
        ({"classes": ["dog", "cat"]}, "it has other classes"),
    ],
)
def test_maps_of_another_data_set_are_refused(check, changes, difference):
    with pytest.raises(UserError, match="made of different data sets") as error:
        check(**changes)
    assert f"\n  cam.maps {OLD} was made of index {OLD}: {difference}\n" in str(error.value)
    assert "kedro run --env tagged makes all" in str(error.value)


def test_a_network_only_has_to_know_the_same_classes(check):
    network = {"names": ["cam.model"]}
    check(INDEX.replace("cat", "dog"), photos="9", **network)
    with pytest.raises(UserError, match=f"cam.model {OLD} was made .* it has other classes"):
        check(classes=["bird"], **network)
