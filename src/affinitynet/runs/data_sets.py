"""The data set that a run's inputs were made of: a stage refuses inputs of another one."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pandas as pd
from kedro.io import CatalogProtocol

from affinitynet.datasets.checkpoint import CheckpointDataset
from affinitynet.errors import UserError
from affinitynet.runs.photos import INDEX, read_states
from affinitynet.runs.record import RunRecord
from affinitynet.runs.versions import read_version, versioned

CLASSES = "classes"
"""Catalog entry."""


def check_data_sets(
    catalog: CatalogProtocol,
    inputs: Mapping[str, str],
    records: list[RunRecord],
    folder: str,
    *,
    env: str,
) -> None:
    """Check that all inputs of a run were made of one data set.

    Photos are distinguished by their names and contents, as several folders may have a `1.jpg`. A
    network only has to know the same classes. What was made of another data set's index that is
    gone is not compared.

    Args:
        catalog: Of the run.
        inputs: Name of each versioned input to its version.
        folder: Where they lie.
        env: The option of `kedro run` for the environment.

    Raises:
        UserError: Naming each input, and how its data set differs.
    """
    made = {record.version: record for record in records}
    indexes = {  # of which each input was made, as far as records know it
        name: index
        for name, version in inputs.items()
        if (record := made.get(version))
        and (index := version if INDEX in record.outputs else record.inputs.get(INDEX))
    }
    own = indexes.get(INDEX) or next(iter(indexes.values()), "")
    wrong = []
    for name, index in indexes.items():
        network = isinstance(catalog.get(name), CheckpointDataset)
        if index != own and (what := _compare(catalog, folder, index, own, network=network)):
            wrong.append(f"\n  {name} {inputs[name]} was made of index {index}: {what}")
    if wrong:
        raise UserError(
            f"The run reads what was made of different data sets (its index is {own}):"
            + "".join(wrong)
            + f"\nMake it again (kedro run{env} makes all), or name versions that belong together: "
            "--load-versions <name>:<version>"
        )


def _compare(
    catalog: CatalogProtocol, folder: str, one: str, other: str, *, network: bool
) -> str | None:
    """Say how the data sets of two versions of the index differ; None where they do not."""
    classes = [_read(catalog, CLASSES, version) for version in (one, other)]
    if None not in classes and classes[0] != classes[1]:
        return "it has other classes"
    if network:
        return None
    was, now = (_read_index(catalog, version) for version in (one, other))
    if was is None or now is None or was.equals(now):
        states = [read_states(folder, version) for version in (one, other)]
        same = None in states or states[0] == states[1]
        return None if same else "its photos have the same names, but other contents"
    if added := len(now.index.difference(was.index)):
        return f"it lacks {added} of the {len(now)} photos"
    if not was.index.equals(now.index):
        return f"it has {len(was.index.difference(now.index))} photos more"
    changed = (was != now.reindex_like(was)).any()
    return f"its photos have other {' and other '.join(changed.index[changed])}"


def _read_index(catalog: CatalogProtocol, version: str) -> pd.DataFrame | None:
    content = _read(catalog, INDEX, version)
    if content is None:
        return None
    table = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False, index_col="id")
    return table.sort_index()


def _read(catalog: CatalogProtocol, name: str, version: str) -> bytes | None:
    dataset: Any = versioned(catalog, name)
    return read_version(dataset, version) if dataset is not None else None
