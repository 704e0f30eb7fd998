"""Checks of the parameters before anything runs: names that nothing reads, values out of range.

Kedro checks the parameters that a node takes as a dataclass; these are the others.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.runs.record import flatten


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


SHARE = ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1)
POSITIVE = ("a number above 0", lambda value: _is_number(value) and value > 0)
PIXELS = ("a whole number above 0", lambda value: _is_count(value, 1))
STEPS = ("a whole number, 0 or more", lambda value: _is_count(value, 0))
RADIUS = ("a whole number above 1", lambda value: _is_count(value, 2))

RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "data_set.val_share": SHARE,
    "affinity_labels.alphas.*": POSITIVE,
    "affinity_labels.long_side": PIXELS,
    "revision.confidence": SHARE,
    "revision.long_side": PIXELS,
    "revision.random_walk.alpha": POSITIVE,
    "revision.random_walk.beta": POSITIVE,
    "revision.random_walk.steps": STEPS,
    "revision.random_walk.radius": RADIUS,
    "revision.random_walk.long_side": PIXELS,
    "revision.random_walk.output_stride": PIXELS,
    "revision.random_walk.batch_size": PIXELS,
    "*inference.long_side": PIXELS,
    "*inference.cell": PIXELS,
    "*inference.batch_size": PIXELS,
}
"""Pattern of a parameter's name to what it must be, where it is not null."""

CRFS = ("segmentation.inference.crf", "inference.crf")
"""Parameters of a dense CRF that may be null."""

BUILT = ("execution", "training", "augmentation", "crf", "backbone", "head")
"""Blocks that a class is built from, which has its own defaults and refuses other names itself."""


def list_wrong_values(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say which parameters have a value that they cannot have, one line each.

    Args:
        parameters: All of them, nested.
    """
    for name, value in flatten(parameters).items():
        for pattern, (wanted, fits) in RANGES.items():
            if value is not None and fnmatchcase(name, pattern) and not fits(value):
                yield f"{name} is {value}; give {wanted}"
    for name in CRFS:
        options: Any = parameters
        for key in name.split("."):
            options = options.get(key) or {}
        try:
            CRFParameters(**options)
        except (TypeError, ValueError) as error:
            yield f"{name}: {error}; it has {', '.join(vars(CRFParameters()))}"


def list_unknown_names(told: Mapping[str, Any], folders: list[Path]) -> Iterator[str]:
    """Say which parameters of the command line no file of `conf/` has, one line each.

    Args:
        told: The parameters of the command line, nested.
        folders: Of the configuration.
    """
    known: dict[str, Any] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.yml")):
            text = file.read_text()
            if file.name.startswith("parameters"):
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
            yield f"{path}{name}: no such parameter in conf/; {hint}"
        elif isinstance(value, Mapping) and known[name] and name not in BUILT:
            yield from _unknown(value, known[name], f"{path}{name}.")
