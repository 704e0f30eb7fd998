"""Tables by photo id: no id is taken for a number or a missing value."""

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro_datasets.pandas import CSVDataset

from tests.conftest import PROJECT

CATALOG = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
TABLES = {
    name: entry
    for name, entry in CATALOG.items()
    if isinstance(entry, dict) and entry.get("type") == "pandas.CSVDataset"
}
BY_ID = [name for name, entry in TABLES.items() if entry["save_args"]["index"]]
IDS = ["null", "NA", "None", "nan", "N/A", "NULL", "1e5", "007", "0x1F", "true", "-inf", "1_000"]


def test_every_table_by_id_is_known():
    assert len(BY_ID) >= 6
    indexed = [name for name, entry in TABLES.items() if "index_col" in entry.get("load_args", {})]
    assert indexed == BY_ID


@pytest.mark.parametrize("name", BY_ID)
def test_ids_are_read_as_they_are_written(tmp_path, name):
    args = {key: TABLES[name].get(key, {}) for key in ("load_args", "save_args")}
    dataset = CSVDataset(filepath=str(tmp_path / "table.csv"), **args)
    numbers = [*np.linspace(0, 1, len(IDS) - 1), np.nan]
    scored = name == "{stage}.image_scores"
    table = pd.DataFrame({"miou": numbers} if scored else {"tags": ["NA", *IDS[1:]]})
    dataset.save(table.set_axis(pd.Index(IDS, name="id")))
    read = dataset.load()
    assert [*read.index] == IDS
    if scored:
        np.testing.assert_array_equal(read["miou"], numbers)
    elif "tags" in args["load_args"]["dtype"]:
        assert [*read["tags"]] == ["NA", *IDS[1:]]


def test_ids_of_numbers_alone_stay_texts(tmp_path):
    args = {key: TABLES["{stage}.image_scores"][key] for key in ("load_args", "save_args")}
    dataset = CSVDataset(filepath=str(tmp_path / "table.csv"), **args)
    dataset.save(pd.DataFrame({"miou": [0.5, 0.25]}, pd.Index(["007", "1e5"], name="id")))
    assert [*dataset.load().index] == ["007", "1e5"]


@pytest.mark.parametrize("name", ["{stage}.confusion", "reporting.{name}"])
def test_class_names_are_read_as_they_are_written(tmp_path, name):
    args = {key: TABLES[name][key] for key in ("load_args", "save_args")}
    dataset = CSVDataset(filepath=str(tmp_path / "table.csv"), **args)
    columns = ["truth", "prediction"] if "confusion" in name else ["class"]
    for ids in (["007", "12"], IDS):
        dataset.save(pd.DataFrame(dict.fromkeys(columns, ids)).assign(pixels=0.5))
        assert [*dataset.load()[columns[0]]] == ids
