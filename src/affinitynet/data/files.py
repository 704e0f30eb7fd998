"""Files of a data set: which are photos, what they are called, why one cannot be read."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

Readers = Mapping[str, Callable[[], Any]]
"""Id to a function that reads the file."""
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Files that are taken for photos, in lower or upper case."""
MAX_NAME = 229
"""Bytes of a photo's name: with `.safetensors`, and `.12345678.part` while it is written, 255."""


def is_hidden(file: str) -> bool:
    """Tell files of a hidden name, or in a hidden folder: macOS strews `._rex.jpg` about."""
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(file).parts)


def name_photos(files: Collection[str]) -> dict[str, str]:
    """Give every file an id: its name without suffix, unless that could mean another file too."""
    stems = {file: PurePosixPath(file).with_suffix("").as_posix() for file in files}
    uses = Counter(stems.values())
    taken = set(files)
    return {
        stem if uses[stem] == 1 and stem not in taken else file: file
        for file, stem in stems.items()
    }


def is_too_long(name: str) -> bool:
    """Tell names that leave no room for the suffixes of what is made of the photo."""
    return any(len(os.fsencode(part)) > MAX_NAME for part in PurePosixPath(name).parts)


def why_unreadable(error: Exception) -> str:
    """Tell in a few words why a file could not be read."""
    from PIL import UnidentifiedImageError

    cause = error.__cause__ or error
    if isinstance(cause, UnidentifiedImageError):
        return "no image that Pillow can read"
    return (str(cause) or type(cause).__name__).splitlines()[0]
