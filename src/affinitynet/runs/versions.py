"""The versions that a run reads and makes: fixed once, before its first node.

Kedro loads "the newest version" each time that it is asked, also inside a run, where another run
may have saved a newer one meanwhile. Here each versioned dataset of a run gets one load version:
its own for what the run makes, and one that is chosen at the start for what it reads. The private
names of Kedro's datasets are used in this module only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from kedro.io import AbstractVersionedDataset, CatalogProtocol, Version
from kedro.io.core import generate_timestamp
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.partitions import VersionedPartitionsDataset
from affinitynet.errors import UserError

logger = logging.getLogger(__name__)


def fix_versions(
    pipeline: Pipeline, catalog: CatalogProtocol, asked: Mapping[str, str], *, own: str
) -> dict[str, str]:
    """Fix the version of everything that a pipeline loads, for as long as the catalog lives.

    Args:
        asked: Versions to read instead of the newest ones, by name: of `--load-versions`, and
            those that a resumed run has begun with.
        own: Version of what the run makes.

    Returns:
        Name of each versioned input to its version; one that has never been made is missing.

    Raises:
        UserError: If another version was asked for of a dataset that the run makes itself.
    """
    wrong = [
        f"\n  {name}:{asked[name]}"
        for name in sorted(pipeline.all_outputs() & asked.keys())
        if versioned(catalog, name) and asked[name] != own
    ]
    if wrong:
        raise UserError(
            "--load-versions names datasets that this run makes itself:"
            + "".join(wrong)
            + "\nA run reads what it has made. Leave them out, or run later nodes only "
            "(--pipeline, --from-nodes)."
        )
    inputs: dict[str, str] = {}
    for name in sorted(pipeline.datasets()):
        dataset = versioned(catalog, name)
        if dataset is None:
            continue
        if name not in pipeline.inputs():
            _pin(dataset, Version(own, own))
            continue
        chosen = asked.get(name) or newest(name, dataset)
        if chosen and is_complete(dataset, chosen):
            _pin(dataset, Version(chosen, own))
            inputs[name] = chosen
    return inputs


def newest(name: str, dataset: Any) -> str | None:
    """Return a dataset's newest complete version that is not from the future.

    A run that was made while the clock was ahead would be the newest for as long as that. It is
    named in a warning, and left out.

    Args:
        name: Its name in the catalog, for the warning.
        dataset: A versioned one.
    """
    now = generate_timestamp()
    for version in list_versions(dataset):
        if not is_complete(dataset, version):
            continue
        if version <= now:
            return version
        logger.warning(
            "%s: the version %s is later than now (%s), so that it is not taken. Take it with "
            "--load-versions %s:%s, or remove it from %s.",
            *(name, version, now, name, version, location(dataset)),
        )
    return None


def location(dataset: Any) -> str:
    """Return the folder of a dataset's versions."""
    return str(dataset._filepath)


def locate_version(dataset: Any, version: str) -> PurePosixPath:
    """Return the path of a version of a dataset."""
    return PurePosixPath(dataset._get_versioned_path(version))


def read_version(dataset: Any, version: str) -> bytes | None:
    """Read the file of a version of a dataset, None if there is none."""
    path = str(locate_version(dataset, version))
    return bytes(dataset._fs.cat_file(path)) if dataset._fs.exists(path) else None


def list_versions(dataset: Any) -> list[str]:
    """List the version folders of a dataset, newest first, complete or not."""
    root = location(dataset)
    dataset._fs.invalidate_cache(root)  # of an object store: other processes write too
    try:
        folders = dataset._fs.ls(root, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((PurePosixPath(folder).name for folder in folders), reverse=True)


def is_complete(dataset: Any, version: str) -> bool:
    """Whether a version of a dataset is there, and complete."""
    return bool(dataset._exists_function(str(locate_version(dataset, version))))


def _pin(dataset: Any, version: Version) -> None:
    dataset.release()  # what it remembers of its versions
    dataset._version = version


def versioned(catalog: CatalogProtocol, name: str) -> Any:
    """Return a catalog's dataset if it has versions, else None."""
    dataset = catalog.get(name)
    has_versions = isinstance(dataset, AbstractVersionedDataset) and dataset._version is not None
    return dataset if has_versions else None


def is_begun(catalog: CatalogProtocol, name: str) -> bool:
    """Whether the run has saved anything of an output."""
    dataset = versioned(catalog, name)
    if isinstance(dataset, VersionedPartitionsDataset):
        return bool(dataset.done())
    return dataset is not None and dataset._fs.exists(
        str(dataset._get_versioned_path(str(dataset.resolve_save_version())))
    )


def is_finished(node: Node, catalog: CatalogProtocol) -> bool:
    """Whether the run has made all outputs of a node."""
    outputs = [versioned(catalog, name) for name in node.outputs]
    return bool(outputs) and all(output and output.exists() for output in outputs)


def reopen(catalog: CatalogProtocol, name: str) -> None:
    """Make room for an output that an unfinished node will write again."""
    dataset = versioned(catalog, name)
    if isinstance(dataset, VersionedPartitionsDataset):
        dataset.reopen()
    elif dataset is not None and dataset.exists():
        dataset._fs.rm(str(dataset._get_load_path()))
        dataset.release()


def item_saver(node: Node, catalog: CatalogProtocol) -> Callable[[str, Any], Any] | None:
    """Return what saves an image, of a node that writes to one folder of images."""
    outputs = [catalog.get(name) for name in node.outputs]
    used = [each for each in outputs if getattr(each, "is_in_use", True)]
    output = used[0] if len(used) == 1 else None
    if isinstance(output, FolderDataset | VersionedPartitionsDataset):
        return output.saver()
    return None


def list_mixed_inputs(
    inputs: Mapping[str, str], made: Mapping[str, Mapping[str, str]], whole: Pipeline
) -> Iterator[str]:
    """Say which inputs were made from other versions than this run reads beside them.

    Args:
        inputs: Name of each input to its version.
        made: Version to what its run read and made: name to version.
        whole: The pipeline that makes them all.
    """
    for name in sorted(inputs.keys() & whole.all_outputs()):
        beside = made.get(inputs[name], {})
        for source in sorted(whole.to_outputs(name).datasets() & inputs.keys() & beside.keys()):
            if inputs[source] != beside[source]:
                yield (
                    f"{name} {inputs[name]} was made with {source} {beside[source]}, but this run "
                    f"reads {source} {inputs[source]}"
                )
