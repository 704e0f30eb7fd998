"""CVAT's `labelmap.txt`: names and colours of the classes in masks that are colour images."""

import re
from dataclasses import dataclass

from affinitynet.core.label_maps import IGNORE_INDEX, Classes, Colour, voc_palette
from affinitynet.data.names import is_background, normal_form
from affinitynet.data.tag_table import decode_text

LINE = re.compile(r"(.+?):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?")
VOID = {"void", "ignore", "ignored", "border", "unlabeled", "unlabelled"}
"""Names of pixels that do not count."""


@dataclass(frozen=True)
class ColourMap:
    """Content of a `labelmap.txt`.

    Attributes:
        classes: Names of the mask values 1, 2, …, in the order of the file.
        values: Mask value of each colour.
    """

    classes: list[str]
    values: dict[Colour, int]


def parse_labelmap(source: bytes, path: str) -> ColourMap:
    """Read lines such as `cat:128,0,0::`; lines that begin with # are comments.

    Raises:
        ValueError: If a line is something else.
    """
    text, _ = decode_text(source, path)
    classes: list[str] = []
    values: dict[Colour, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if not (found := LINE.fullmatch(line.strip())):
            raise ValueError(f"{path}, line {number}: is no <name>:<red>,<green>,<blue>::")
        name, *channels = found.groups()[:4]
        red, green, blue = map(int, channels)
        name = normal_form(name)
        if is_background(name):
            value = 0
        elif name.casefold() in VOID:
            value = IGNORE_INDEX
        else:
            classes.append(name)
            value = len(classes)
        values[red, green, blue] = value
    return ColourMap(classes, values)


def format_labelmap(classes: Classes) -> str:
    """Write a `labelmap.txt`: the names and colours of the mask values."""
    text = "# label:color_rgb:parts:actions\n"
    for name, value in {"background": 0, **classes}.items():
        text += f"{name}:{','.join(map(str, voc_palette()[value]))}::\n"
    return text
