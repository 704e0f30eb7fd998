"""The reference of all parameters, made from the commented files of conf/.

A parameter's description is its comment: behind its value, and in the lines above it.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kedro.config import OmegaConfigLoader

from affinitynet.settings import CONFIG_LOADER_ARGS

ENVIRONMENTS = ("tagged", "voc_cpu", "voc", "coco")
"""Those whose own values are shown; the tests' environment only makes everything small."""

INTRODUCTION = """# Configuration

Every parameter by its full name, its value in `conf/base`, what it does, and what the environments
set in its place. The name is the one that `--params` takes:

```
kedro run --env voc_cpu --params cam.training.epochs=8,revision.random_walk.beta=16
```

In the comments, "paper" is Ahn & Kwak, CVPR 2018, and "release" the authors' code
([compared](paper_and_release.md)). A parameter without a value is not set in `conf/base`; its
default is in the code: [training][affinitynet.training.parameters.TrainingParameters],
[augmentation][affinitynet.training.parameters.Augmentation],
[backbones][affinitynet.networks.backbones].

An environment is a folder beside `conf/base` that holds what differs from it. What you put into
`conf/local` is taken where no environment is named, and is ignored by git.
"""


@dataclass(frozen=True)
class Entry:
    """A parameter, or a group of them, as a file has it."""

    name: str
    comment: str
    is_group: bool


def reference(conf: Path) -> str:
    """Write the page.

    Args:
        conf: The folder of the environments.

    Returns:
        Markdown: a section a file of `conf/base`, in it a definition list, an anchor a parameter.

    Raises:
        ValueError: If a parameter of `conf/base` has no comment.
    """
    sections = {path: read(path) for path in parameter_files(conf / "base")}
    base = {entry.name: entry for _, entries in sections.values() for entry in entries}
    own = {
        environment: {
            entry.name: entry
            for path in parameter_files(conf / environment)
            for entry in read(path, leaves=base)[1]
        }
        for environment in ENVIRONMENTS
    }
    values = {environment: load(conf, environment) for environment in ("base", *ENVIRONMENTS)}

    page = [INTRODUCTION]
    for path, (header, entries) in sorted(sections.items(), key=in_order):
        page.append(f"## {section(path)}\n\n{as_markdown(header)} (`conf/base/{path.name}`)\n")
        names = [entry.name for entry in entries]
        for further in own.values():
            names = with_further(names, further)
        for name in names:
            entry = base.get(name) or Entry(name, "", is_group=True)
            value = value_of(values["base"], entry)
            overrides = []
            for environment in ENVIRONMENTS:
                if other := own[environment].get(name):
                    theirs = value_of(values[environment], other)
                    is_said = entry.comment.lower().startswith(other.comment.lower())
                    if theirs != value or not is_said:
                        text = "" if is_said else f": {as_markdown(other.comment)}"
                        overrides.append(f"    - `{environment}`{theirs}{text}")
            text = as_markdown(entry.comment)
            if not entry.comment and not entry.is_group:
                raise ValueError(f"parameter {name}: no comment in {path}; write what it does")
            if not entry.comment and not overrides:
                continue
            page.append(f"`{name}`{{ #{name} }}{value}\n:   {text}\n")
            page.extend([*overrides, ""])
    return "\n".join(page)


def parameter_files(folder: Path) -> list[Path]:
    """Return the files of an environment that set parameters."""
    return [folder / "globals.yml", *sorted(folder.glob("parameters*.yml"))]


def section(path: Path) -> str:
    """Name the section, and its anchor, of a parameters file."""
    return path.stem.removeprefix("parameters_")


def in_order(item: tuple[Path, Any]) -> tuple[bool, bool, str]:
    """Order the sections: what all stages share, the stages, all else."""
    path, (header, _) = item
    return section(path) not in ("globals", "parameters"), not header.startswith("Stage"), header


def read(path: Path, leaves: dict[str, Entry] | None = None) -> tuple[str, list[Entry]]:
    """Read a file's first comment, and its entries with their comments.

    Args:
        path: A YAML file that begins with a comment.
        leaves: Entries of the base. A mapping in braces is a value where it is one of them; without
            `leaves` it is always one.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    header = next(i for i, line in enumerate(lines) if not line.startswith("#"))

    def behind(key: yaml.Node, value: yaml.Node) -> str:
        mark = value.end_mark if getattr(value, "flow_style", True) is not False else key.end_mark
        return "".join(re.findall(r"(?:^|\s)# ?(.*)", lines[mark.line][mark.column :]))

    def above(key: yaml.Node) -> str:
        first = key.start_mark.line
        while first > header and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return joined(lines[first : key.start_mark.line])

    def entries(node: yaml.MappingNode, prefix: str, comment: str = "") -> Iterator[Entry]:
        for key, value in node.value:
            name = prefix + key.value
            is_group = isinstance(value, yaml.MappingNode) and not (
                value.flow_style
                and (leaves is None or (name in leaves and not leaves[name].is_group))
            )
            if not node.flow_style:
                comment = ". ".join(filter(None, (behind(key, value), above(key))))
            # The comment on {one: 1} is on `one`, that on {one: 1, two: 2} on them together.
            is_single = is_group and value.flow_style and len(value.value) == 1
            yield Entry(name, "" if is_single else comment, is_group)
            if is_group:
                yield from entries(value, f"{name}.", comment if is_single else "")

    prefix = "globals:" if path.stem == "globals" else ""
    return joined(lines[:header]), list(entries(yaml.compose(text), prefix))


def joined(lines: list[str]) -> str:
    """Join the lines of a comment."""
    return " ".join(line.strip().removeprefix("#").strip() for line in lines)


def load(conf: Path, environment: str) -> dict[str, Any]:
    """Load the values of an environment, without those of conf/local."""
    arguments = CONFIG_LOADER_ARGS | {"default_run_env": "base"}
    loader = OmegaConfigLoader(str(conf), env=environment, **arguments)
    shared = {f"globals:{name}": value for name, value in loader["globals"].items()}
    return loader["parameters"] | shared


def value_of(values: dict[str, Any], entry: Entry) -> str:
    """Write an entry's value as ` = ` and YAML, a group's as nothing."""
    if entry.is_group:
        return ""
    value = functools.reduce(lambda group, key: group[key], entry.name.split("."), values)
    text = yaml.safe_dump(
        value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True
    )
    return f" = `{text.strip().removesuffix('...').strip()}`"


def with_further(names: list[str], further: dict[str, Entry]) -> list[str]:
    """Add an environment's further entries of the same groups, each behind its siblings."""
    names = list(names)
    groups = {name.partition(".")[0] for name in names}
    for name in further:
        if name in names or name.partition(".")[0] not in groups:
            continue
        group = name
        while not any(other == group or other.startswith(f"{group}.") for other in names):
            group = group.rpartition(".")[0]
        last = max(i for i, other in enumerate(names) if f"{other}.".startswith(f"{group}."))
        names.insert(last + 1, name)
    return names


def as_markdown(comment: str) -> str:
    """Escape what Markdown would take for its own outside of `code`; link the pages of docs/."""
    parts = comment.split("`")
    for i, part in enumerate(parts):
        if i % 2 == 0:
            escaped = re.sub(r"([*\[\]])", r"\\\1", part.replace("<", "&lt;"))
            parts[i] = re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", escaped)
    return "`".join(parts)
