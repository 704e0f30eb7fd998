"""Private names of other packages: each is still there, and there are no others."""

import ast
import inspect
import os
import tomllib
from importlib import import_module
from pkgutil import walk_packages

import pytest
from fsspec.implementations.local import LocalFileSystem
from kedro.config import OmegaConfigLoader
from kedro.io.core import AbstractVersionedDataset
from kedro_datasets.json import JSONDataset
from kedro_datasets.partitions import PartitionedDataset
from kedro_datasets.text import TextDataset
from torch.nn import Conv2d

import affinitynet
from affinitynet.data.checks import Inspection
from tests.conftest import PROJECT

PRIVATE = {  # to their owners, in whose source they are
    "_clear_version_cache": AbstractVersionedDataset,
    "_conv_forward": Conv2d,
    "_exists_function": AbstractVersionedDataset,
    "_exit": os,
    "_fields": Inspection,
    "_filesystem": PartitionedDataset,
    "_fs": OmegaConfigLoader,
    "_fs_open_args_load": TextDataset,
    "_fs_open_args_save": TextDataset,
    "_get_conf_env_path": OmegaConfigLoader,
    "_get_load_path": AbstractVersionedDataset,
    "_get_save_path": AbstractVersionedDataset,
    "_get_versioned_path": AbstractVersionedDataset,
    "_invalidate_cache": JSONDataset,
    "_invalidate_caches": PartitionedDataset,
    "_normalized_path": PartitionedDataset,
    "_parent": LocalFileSystem,
    "_partition_to_path": PartitionedDataset,
    "_path": PartitionedDataset,
    "_strip_protocol": LocalFileSystem,
    "_version": AbstractVersionedDataset,
}
SOURCES = [ast.parse(path.read_text(encoding="utf-8")) for path in (PROJECT / "src").rglob("*.py")]
ATTRIBUTES = [
    node for tree in SOURCES for node in ast.walk(tree) if isinstance(node, ast.Attribute)
]


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def is_of_parent(attribute):
    called = attribute.value
    return isinstance(called, ast.Call) and getattr(called.func, "id", "") == "super"


@pytest.mark.parametrize(("name", "owner"), PRIVATE.items())
def test_private_names_are_still_there(name, owner):
    assert name in dir(owner) or name in inspect.getsource(owner)


def test_no_other_private_names_are_used():
    defined = {
        name
        for tree in SOURCES
        for node in ast.walk(tree)
        for name in (
            getattr(node, "name", None),
            node.attr if isinstance(node, ast.Attribute) else None,
            node.id if isinstance(node, ast.Name) else None,
        )
        if name and not isinstance(getattr(node, "ctx", None), ast.Load)
    }
    used = {node.attr for node in ATTRIBUTES if is_private(node.attr)} - {"_replace"}  # of tuples
    assert used - defined <= PRIVATE.keys()


def test_methods_override_what_the_parent_has():
    """A private method is one of the parent's, or it is called here: else the parent lost it."""
    called = {node.attr for node in ATTRIBUTES if not is_of_parent(node)}
    lost = [
        f"{cls.__module__}.{cls.__name__}.{name}"
        for module in walk_packages(affinitynet.__path__, "affinitynet.")
        if not module.name.startswith(("affinitynet.demo", "affinitynet.__main__"))
        for _, cls in inspect.getmembers(import_module(module.name), inspect.isclass)
        if cls.__module__ == module.name
        for name, member in vars(cls).items()
        if is_private(name) and getattr(member, "__module__", None) == cls.__module__
        if name not in called and not any(hasattr(base, name) for base in cls.__bases__)
    ]
    assert not lost


def test_hooks_use_no_private_names_of_others():
    for module in ("hooks", "context", "photos", "session", "tracking"):
        path = PROJECT / f"src/affinitynet/runs/{module}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
        of_others = {
            node.attr
            for node in used
            if is_private(node.attr) and getattr(node.value, "id", "") != "self"
        }
        assert not of_others, module


@pytest.mark.parametrize("package", ["kedro", "kedro-datasets", "kedro-mlflow"])
def test_versions_that_may_lose_them_are_excluded(package):
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    (requirement,) = (
        each for each in settings["project"]["dependencies"] if each.startswith(f"{package}>=")
    )
    least, _, most = requirement.partition(",<")
    major, minor = least.partition(">=")[2].split(".")[:2]
    assert most == f"{major}.{int(minor) + 1}"
