"""Checks of the parameters before anything runs: names that nothing reads, values out of range.

Kedro checks the parameters that a node takes as a dataclass; these are the others.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import yaml

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.runs.record import flatten
from affinitynet.training.parameters import Augmentation, TrainingParameters


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_thresholds(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(SHARE[1](each) for each in value)


def _is_precision(value: Any) -> bool:
    return isinstance(value, bool) or value in ("auto", "bfloat16", "float32")


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"auto|cpu|cuda(:\d+)?", value))


Range = tuple[str, Callable[[Any], bool]]


def _or_null(wanted: str, fits: Callable[[Any], bool]) -> Range:
    return f"{wanted}, or null", lambda value: value is None or fits(value)


SHARE: Range = ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1)
POSITIVE: Range = ("a number above 0", lambda value: _is_number(value) and value > 0)
PIXELS: Range = ("a whole number above 0", lambda value: _is_count(value, 1))
STEPS: Range = ("a whole number, 0 or more", lambda value: _is_count(value, 0))
RADIUS: Range = ("a whole number above 1", lambda value: _is_count(value, 2))
THRESHOLDS: Range = ("a list of numbers between 0 and 1, one at least", _are_thresholds)

PRECISION: Range = ("true, false or auto", _is_precision)

RANGES: dict[str, Range] = {
    "seed": STEPS,
    "scenes.*": PIXELS,
    "data_set.val_share": SHARE,
    "execution.device": ("auto, cpu, cuda or cuda:<number>", _is_device),
    "cam.thresholds": THRESHOLDS,
    "search.cam.space.thresholds": THRESHOLDS,
    "affinity_labels.alphas.*": POSITIVE,
    "affinity_labels.long_side": _or_null(*PIXELS),
    "affinity_training.radius": RADIUS,
    "revision.confidence": SHARE,
    "revision.long_side": _or_null(*PIXELS),
    "revision.random_walk.alpha": POSITIVE,
    "revision.random_walk.beta": POSITIVE,
    "revision.random_walk.steps": STEPS,
    "revision.random_walk.radius": RADIUS,
    "revision.random_walk.long_side": _or_null(*PIXELS),
    "revision.random_walk.output_stride": PIXELS,
    "revision.random_walk.batch_size": PIXELS,
    "cam.inference.bfloat16": PRECISION,
    "segmentation.inference.bfloat16": PRECISION,
    "revision.random_walk.bfloat16": PRECISION,
    "inference.bfloat16": _or_null(*PRECISION),
    "*inference.long_side": _or_null(*PIXELS),
    "*inference.cell": _or_null(*PIXELS),
    "*inference.batch_size": _or_null(*PIXELS),
}
"""Pattern of a parameter's name to what it must be."""

CRFS = ("segmentation.inference.crf", "inference.crf")
"""Parameters of a dense CRF that may be null."""

DATACLASSES = {
    "execution": Execution,
    "training": TrainingParameters,
    "augmentation": Augmentation,
    "crf": CRFParameters,
}
"""Blocks that a dataclass is built from, by the last part of their names: it has further names."""

NETWORKS = {
    "*.network.backbone": ("backbones", "Backbone"),
    "cam.network.head": ("cam_net", "CAMNet"),
    "affinity_training.network.head": ("affinity_net", "AffinityNet"),
    "segmentation.network.head": ("segmentation_net", "SegmentationNet"),
}
"""Likewise those that a network is built from: module and class. To import one takes seconds."""


def list_wrong_values(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say which parameters have a value that they cannot have, one line each.

    Args:
        parameters: All of them, nested.
    """
    for name, value in flatten(parameters).items():
        for pattern, (wanted, fits) in RANGES.items():
            if fnmatchcase(name, pattern) and not fits(value):
                told = "null" if value is None else value
                yield f"{name} is {told}; give {wanted}"
    alphas = parameters["affinity_labels"]["alphas"]
    if all(map(_is_number, alphas.values())) and alphas["low"] > alphas["high"]:
        yield (
            f"affinity_labels.alphas.low is {alphas['low']}, above affinity_labels.alphas.high, "
            f"{alphas['high']}; give the smaller one as low"
        )
    for name in CRFS:
        options: Any = parameters
        for key in name.split("."):
            options = options.get(key) or {}
        try:
            CRFParameters(**options)
        except (TypeError, ValueError) as error:
            yield f"{name}: {error}; it has {', '.join(vars(CRFParameters()))}"


def check_device(execution: Mapping[str, Any]) -> None:
    """Check that this machine has the CUDA device that the parameters ask for.

    Others are not looked for, as that takes the seconds in which torch is imported.

    Args:
        execution: The parameters `execution`.

    Raises:
        UserError: If it has no such device.
    """
    name = str(execution["device"])
    if execution["engine"] != "local" or not name.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise UserError(
            f"execution.device is '{name}', but torch sees {count or 'no'} CUDA "
            f"device{'s' * (count != 1)} on this machine; give cpu, or auto, which takes CUDA "
            "where there is one"
        )


def list_unknown_names(told: Mapping[str, Any], files: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Say which parameters of the command line no file of `conf/` has, one line each.

    Args:
        told: The parameters of the command line, nested.
        files: Names and texts of the files of the configuration.
    """
    known: dict[str, Any] = {}
    for file, text in files:
        if file.startswith("parameters"):
            _unite(known, yaml.safe_load(text) or {})
        # the catalog reads some of the command line's alone
        known |= {name: known.get(name) for name in re.findall(r"runtime_params:(\w+)", text)}
    yield from _unknown(told, known)


def _unite(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add names to names. What is null or empty in one file may hold anything."""
    for name, value in more.items():
        if name in known and known[name] and isinstance(known[name], dict) and value:
            _unite(known[name], value)
        else:
            known[name] = None if name in known else value


def _unknown(told: Mapping[str, Any], known: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in told.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {path}{near[0]}?" if near else f"there are {', '.join(known)}"
            yield f"{path}{name}: no such parameter; {hint}"
        elif isinstance(value, Mapping):
            further = dict.fromkeys(_names_of_class(f"{path}{name}")) | (known[name] or {})
            if further:
                yield from _unknown(value, further, f"{path}{name}.")


def _names_of_class(block: str) -> Iterator[str]:
    """Name the parameters of the class that a block is for, if there is one."""
    if dataclass := DATACLASSES.get(block.rpartition(".")[2]):
        yield from (field.name for field in fields(dataclass))
    for pattern, (module, network) in NETWORKS.items():
        if fnmatchcase(block, pattern):
            arguments = signature(
                getattr(import_module(f"affinitynet.networks.{module}"), network)
            ).parameters.values()
            yield from (each.name for each in arguments if each.kind is Parameter.KEYWORD_ONLY)
