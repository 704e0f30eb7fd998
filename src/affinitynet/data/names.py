"""Names of classes and of splits, in the one form that they are compared in."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters of no width: soft hyphen, zero-width blank, word joiner, byte order mark."""
BACKGROUND = re.compile(r"[\W_]*background([\W_]*google)?[\W_]*")
"""Names of no class, in small letters: `background`, `_background_`, `BACKGROUND_Google`."""
SPLIT_NAMES = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "dev", "valset", "eval", "evaluation"),
    "test": ("test", "testing", "testset", "holdout"),
}


def compose(name: str) -> str:
    """Write a file's name in NFC: file systems spell é in two ways."""
    return unicodedata.normalize("NFC", name)


@lru_cache(10_000)  # the same few classes in every row
def normal_form(name: str) -> str:
    """Write a class's name in NFC, with single blanks and nothing around them."""
    return " ".join(compose(name).translate(INVISIBLE).split())


def is_background(name: str) -> bool:
    """Whether a name stands for the pixels of no class."""
    return bool(BACKGROUND.fullmatch(name.casefold()))


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Bring tags to their normal form, each once, without background."""
    named = dict.fromkeys(normal_form(tag) for tag in tags)
    return [name for name in named if name and not is_background(name)]


def list_names(given: str | Iterable[str] | None, separator: str) -> list[str] | None:
    """Read a parameter that lists class names: a list, or a text such as `cat;dog`.

    A text is split at its semicolons if it has any, so that names may contain commas.
    """
    if given is None:
        return None
    if isinstance(given, str):
        given = re.split(";" if ";" in given else f"[{re.escape(separator)}]", given)
    return [normal_form(str(each)) for each in given]


def read_split(name: str) -> str | None:
    """Read a split's name: train, val or test; None if it is no split's."""
    word = normal_form(name).casefold()
    return next((split for split, names in SPLIT_NAMES.items() if word in names), None)
