"""Checks of all parameters before anything runs: their names, their values, the networks."""

import json
import os
import re
from collections.abc import Collection, Mapping, Set
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from affinitynet.core.ranges import IsPath
from affinitynet.core.segments import SLIC
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.networks.parameters import PRETRAINED, WEIGHT_PACKAGES
from affinitynet.pipelines.parameters import Parameters

WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text; write it in quotes",
    "tuple_type": "a list",
    "string_too_short": "more than an empty text",
    "dict_type": "a block of parameters",
    "finite_number": "a finite number",
}
"""Kind of a wrong value, in pydantic's words, to what is wanted instead."""

NAMES = ("missing", "unexpected_keyword_argument")
"""Kinds of errors that are about a name, not a value."""


def scaled(size: Any, factor: float) -> Any:
    """Scale a number of pixels in conf/, `${scaled:${working_size},0.75}`; leave all else."""
    return round(size * factor) if isinstance(size, int | float) else size


RESOLVERS = {"scaled": scaled}
"""What conf/ can call, beside OmegaConf's and Kedro's own."""


def check_parameters(raw: Mapping[str, Any], others: Set[str] = frozenset()) -> Parameters:
    """Check the names and values of all parameters.

    Args:
        raw: All of them, nested.
        others: Names that may be there besides those of `Parameters`.

    Raises:
        UserError: With one line for each wrong one.
    """
    known = _hints(Parameters).keys()
    try:
        return TypeAdapter(Parameters).validate_python(
            {name: value for name, value in raw.items() if name not in others - known}
        )
    except ValidationError as error:
        problems: dict[str, list[ErrorDetails]] = {}
        for each in error.errors():
            problems.setdefault(_full_name(each, raw), []).append(each)
        if "working_size" in problems:  # others follow from it
            problems = {"working_size": problems["working_size"]}
        elif raw.get("working_size") is None and any(name.endswith("crop") for name in problems):
            raise UserError(
                "working_size is null, as only environments can have it that give the crops' size "
                "themselves (voc, coco); give a number of pixels."
            ) from error
        blocks = {name[: end.start()] for name in problems for end in re.finditer(r"[.[]", name)}
        lines = "".join(
            f"\n  {_describe(name, errors)}"
            for name, errors in problems.items()
            if name not in blocks  # else an entry of it is wrong
        )
        raise UserError(f"Wrong parameters:{lines}\nconf/base explains each.") from error


def _full_name(error: ErrorDetails, raw: Any) -> str:
    """Name a parameter as `--params` does; pydantic also names the members of a union."""
    name = ""
    for i, key in enumerate(error["loc"]):
        is_new = i == len(error["loc"]) - 1 and error["type"] in NAMES
        if isinstance(raw, Mapping) and (key in raw or is_new):
            raw, name = raw.get(key), f"{name}.{key}"
        elif isinstance(raw, list | tuple) and isinstance(key, int):
            raw, name = raw[key] if key < len(raw) else None, f"{name}[{key}]"
    return name.removeprefix(".")


def _describe(name: str, errors: list[ErrorDetails]) -> str:
    """Say in a line what is wrong with a parameter; a union has an error for each member."""
    errors = [each for each in errors if each["type"] == "value_error"] or errors
    wanted = " or ".join(_wanted(each, name) for each in errors).replace(" or it must be ", " or ")
    value = errors[0]["input"]
    if errors[0]["type"] in NAMES or isinstance(value, Mapping):
        return f"{name}: {wanted}"
    shown = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return f"{name} is {shown}; {wanted}"


def _wanted(error: ErrorDetails, name: str) -> str:
    """Say what a parameter must be, as the end of a sentence."""
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "unexpected_keyword_argument":
            block, _, last = name.rpartition(".")
            prefix, known = name.removesuffix(last), _names(block)
            near = get_close_matches(last, known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(known)}"
            return f"no such parameter; {hint}"
        case "missing":
            return "it is missing"
        case "dataclass_type":
            return f"it must be a block of {', '.join(_names(name))}"
        case "too_short":
            return f"it must have {context['min_length']} or more entries"
        case "too_long":
            return f"it must have {context['max_length']} entries"
        case "value_error":
            return str(context["error"])
    wanted = WANTED.get(kind)
    return f"it must be {wanted}" if wanted else error["msg"].replace("Input should", "it must")


def _names(block: str) -> list[str]:
    """Name the parameters of a block; empty for all of them."""
    return [*_hints(_block(find_type(block) if block else Parameters))]


def find_type(name: str) -> Any:
    """Find the type that a parameter is declared with, by its full name; Any for an unknown one."""
    hint: Any = Parameters
    for key in name.split("."):
        if block := _block(hint):
            hint = _hints(block).get(key, Any)
        else:
            mappings = (each for each in alternatives(hint) if get_origin(each) is dict)
            hint = next((get_args(each)[1] for each in mappings), Any)
    return hint


def _block(hint: Any) -> Any:
    """The block of parameters among the alternatives of a type; None if there is none."""
    return next(filter(is_dataclass, alternatives(hint)), None)


def _hints(block: type) -> dict[str, Any]:
    return get_type_hints(block, include_extras=True)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """List the members of a union; of another type, itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def is_path(hint: Any) -> bool:
    """Whether a type is that of a file or folder, see `affinitynet.core.ranges.FilePath`."""
    return any(isinstance(mark, IsPath) for each in alternatives(hint) for mark in get_args(each))


def anchor_paths(
    values: Mapping[str, Any], folder: Path, block: type = Parameters
) -> dict[str, Any]:
    """Let relative paths begin at the project's folder, as the catalog's do.

    Args:
        values: Some or all of the parameters, nested.
        folder: Of the project.
        block: What the values are of.
    """
    hints = _hints(block)
    return {
        name: _anchor(value, folder, hints[name]) if name in hints else value
        for name, value in values.items()
    }


def _anchor(value: Any, folder: Path, hint: Any) -> Any:
    if isinstance(value, Mapping):
        block = _block(hint)
        return anchor_paths(value, folder, block) if block else value
    names = ("", "-", SLIC, PRETRAINED, *WEIGHT_PACKAGES)
    if not isinstance(value, str) or value in names or not is_path(hint):
        return value
    return value if "://" in value else str(folder / os.path.expanduser(value))


def check_device(execution: Execution) -> None:
    """Check that this machine has the CUDA device that the parameters ask for.

    Others are not looked for, as that takes the seconds in which torch is imported.

    Raises:
        UserError: If it has no such device.
    """
    name = execution.device
    if execution.engine != "local" or not name.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise UserError(
            f"execution.device is '{name}', but torch sees {count or 'no'} CUDA "
            f"device{'s' * (count != 1)} on this machine; give cpu, or auto, which takes CUDA "
            "where there is one"
        )


def check_packages(nodes: Collection[str], parameters: Parameters) -> None:
    """Check that the optional packages that a run needs are installed.

    Args:
        nodes: Names of the run's nodes.

    Raises:
        UserError: Naming the package, and how to do without.
    """
    needed = {
        "optuna": (
            "search.refine" in nodes and parameters.search.refine.trials > 0,
            "search.refine needs Optuna: pip install 'affinitynet[search]'. "
            "search.refine.trials=0 searches the random walk only, without it",
        ),
        "skimage": (
            "revision.refine" in nodes and parameters.revision.vote.segments == SLIC,
            "segments=slic needs scikit-image: pip install 'affinitynet[segments]'",
        ),
        "ray": (
            parameters.execution.engine == "ray",
            "execution.engine=ray needs Ray: pip install 'affinitynet[cluster]'",
        ),
    }
    for package, (is_needed, message) in needed.items():
        if is_needed and _is_missing(package):
            raise UserError(message)


def _is_missing(package: str) -> bool:
    try:
        return find_spec(package) is None
    except ValueError:  # of a module that is set to None
        return True
