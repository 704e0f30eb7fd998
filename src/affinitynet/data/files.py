"""Files of a data set: which are photos, what they are called, why one cannot be read."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Partitions = Mapping[str, Callable[[], T]]
"""Id to a function that reads the file: a partitioned dataset, as Kedro loads it."""
Arrays = dict[str, npt.NDArray[Any]]
"""Named arrays, as a safetensors file holds them."""
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
"""Files that are read where pillow-heif is installed."""
PHOTO_SUFFIXES = (
    *JPEG_SUFFIXES,
    *(".png", ".apng", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".ppm", ".pgm"),
    *HEIC_SUFFIXES,
)
"""Files that are taken for photos, in lower or upper case."""
UNREAD_SUFFIXES = (
    *(".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".dng"),
    *(".jxl", ".psd", ".exr", ".hdr", ".dcm"),
)
"""Files that are photos too, but that nothing here reads: they are reported."""
SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
"""Files of operating systems in folders and archives: previews, deleted files."""
MAX_NAME = 229
"""Bytes of a photo's name: with `.safetensors`, and `.12345678.part` while it is written, 255."""


def is_hidden(file: str) -> bool:
    """Tell files of a hidden name, or in a hidden folder: macOS strews `._rex.jpg` about."""
    parts = PurePosixPath(file).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return hidden or not SYSTEM_FOLDERS.isdisjoint(parts)


def name_photos(files: Collection[str]) -> dict[str, str]:
    """Give every file an id: its name without suffix, unless that could mean another file too."""
    stems = {file: PurePosixPath(file).with_suffix("").as_posix() for file in files}
    uses = Counter(stems.values())
    taken = set(files)
    return {
        stem if uses[stem] == 1 and stem not in taken else file: file
        for file, stem in stems.items()
    }


def is_photo(file: str) -> bool:
    """Tell files that are photos by their suffix, read here or not."""
    return os.path.splitext(file)[1].lower() in (*PHOTO_SUFFIXES, *UNREAD_SUFFIXES)


def is_readable(file: str) -> bool:
    """Tell whether a photo's format is one that is read here, by its suffix."""
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in HEIC_SUFFIXES:
        return find_spec("pillow_heif") is not None
    return suffix in PHOTO_SUFFIXES


def without_raws(files: Collection[str]) -> list[str]:
    """Leave files that are not read out where the same photo is there in another format."""
    stems = {os.path.splitext(file)[0] for file in files if is_readable(file)}
    return [file for file in files if is_readable(file) or os.path.splitext(file)[0] not in stems]


def why_not_read(file: str) -> str:
    """Say why Pillow did not know a file's format, and what to do, by its suffix."""
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in HEIC_SUFFIXES and not is_readable(file):
        return f"{suffix} needs pillow-heif: pip install 'affinitynet[heic]'"
    if suffix in UNREAD_SUFFIXES:
        return f"{suffix} is not read; convert it to JPEG, PNG or TIFF"
    return "no image that Pillow can read"


def is_too_long(name: str) -> bool:
    """Tell names that leave no room for the suffixes of what is made of the photo."""
    return any(len(os.fsencode(part)) > MAX_NAME for part in PurePosixPath(name).parts)


def why_unreadable(error: Exception) -> str:
    """Tell in a few words why a file could not be read."""
    from PIL import UnidentifiedImageError

    cause = error.__cause__ or error
    if isinstance(cause, UnidentifiedImageError):
        return "no image that Pillow can read"
    if isinstance(cause, IsADirectoryError):
        return "a folder; name a photo in it"
    return (str(cause) or type(cause).__name__).splitlines()[0]


def inspect_photo(read: "Callable[[], Image.Image]") -> tuple[int, int, str]:
    """Read a photo in full.

    Returns:
        Its width and height in pixels, upright, and why it cannot be read: empty where it can.
    """
    from affinitynet.core.images import to_rgb

    try:
        width, height = to_rgb(read()).size
    except Exception as error:
        return 0, 0, why_unreadable(error)
    return width, height, ""
