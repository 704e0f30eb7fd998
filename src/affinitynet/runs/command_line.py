"""The text behind `--params`: paths and names as they are typed, all else as YAML."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from affinitynet.errors import UserError

ITEM = re.compile(
    r"""\s*(?P<name>[\w.]+)\s*=\s*
    (?:(?P<quote>['"])(?P<quoted>.*?)(?P=quote)|(?P<plain>.*?))\s*
    (?:,(?=\s*[\w.]+\s*=)|,?\s*$)""",
    re.VERBOSE | re.DOTALL,
)
"""`name=value` up to the next `,name=`."""


def parse_params(text: str) -> dict[str, Any]:
    """Read `name=value,…` by what each parameter is declared as.

    Paths and other texts are taken as they are typed, up to the next `,name=`; quotes around a
    value hold one that contains that. `null` is None where there may be none. Lists of texts are
    written as `[one, two]`. All else is YAML.

    Returns:
        The values, nested.

    Raises:
        UserError: If a value has no name, is no YAML, or has a `${`.
    """
    values: dict[str, Any] = {}
    position = 0
    while position < len(text.rstrip()):
        item = ITEM.match(text, position)
        if not item:
            raise UserError(f"--params {text[position:]}: give <name>=<value>, separated by commas")
        name = item["name"]
        *path, last = name.split(".")
        block = values
        for key in path:
            block = block.setdefault(key, {})
            if not isinstance(block, dict):
                raise UserError(f"--params {name}: {key} has a value of its own already")
        block[last] = _read(name, item)
        position = item.end()
    return values


def _read(name: str, item: re.Match[str]) -> Any:
    from affinitynet.runs.parameters import alternatives, find_type  # imports pydantic

    hints = alternatives(find_type(name))
    value = item["plain"] if item["quote"] is None else item["quoted"]
    if item["quote"] is None and value == "null" and type(None) in hints:
        return None
    if "${" in value:
        raise UserError(
            f"--params {name}={value}: ${{ would stand for a value of the configuration; give a "
            "path without it, such as a link"
        )
    try:
        if value.startswith("[") and any(_is_texts(hint) for hint in hints):
            return yaml.load(value, yaml.BaseLoader)
        if _is_read_as_typed(hints):
            return value
        plain = f"{item['quote'] or ''}{value}{item['quote'] or ''}"
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={plain}"]))["value"]  # type: ignore
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise UserError(f"--params {name}={value}: this is no YAML ({reason})") from error


def _is_read_as_typed(hints: Iterable[Any]) -> bool:
    """Whether a value is a text as it is typed: `auto` beside a number is none, but YAML."""
    hints = [hint for hint in hints if hint is not type(None)]
    words = [hint for hint in hints if get_origin(hint) is Literal]
    others = [hint for hint in hints if hint not in words]
    if others:
        return any(_is_text(hint) or _is_texts(hint) for hint in others)
    return any(_is_text(hint) for hint in words)


def _is_text(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_text(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return all(isinstance(value, str) for value in get_args(hint))
    return hint is str


def _is_texts(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_texts(get_args(hint)[0])
    return get_origin(hint) is tuple and _is_text(get_args(hint)[0])
