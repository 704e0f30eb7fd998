"""Whose maps the files of a folder are: their photos, and the labels of their classes."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.class_maps import ClassMaps
from affinitynet.data.files import is_hidden, why_unreadable
from affinitynet.data.matching import PhotoFinder
from affinitynet.data.names import is_background
from affinitynet.data.score_files import ARRAY_SUFFIXES, IMAGE_SUFFIXES, Key, ScoreMaps, as_key

BLANKS = re.compile(r"[\W_]+")
"""Characters between the words of a class name: `dining table`, `dining_table`."""
SHIFTS = (1, 0)
"""Added to a class's number to get its label: numbers begin at 0, or at 1 after the background."""

File = tuple[str, Key | None]
"""A file, and the class in its name."""


class ClassNames:
    """Finds the label that a name or number stands for: 1, 2, … in the order of `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = [*names]
        self._labels = {_bare(name): label for label, name in enumerate(names, start=1)}

    def find(self, key: Key, shift: int) -> int | None:
        """Return the label, 0 for the background; None if it is no class.

        `shift` is the label of the class with the number 0.
        """
        if isinstance(key, str):
            return 0 if is_background(key) else self._labels.get(_bare(key))
        return key + shift if 0 <= key + shift <= len(self.names) else None

    def knows(self, text: str) -> bool:
        """Whether a part of a file's name is a class's number or name."""
        return isinstance(as_key(text), int) or self.find(text, 0) is not None


def _bare(name: str) -> str:
    return BLANKS.sub(" ", name.casefold()).strip()


def assign_files(
    files: Collection[str], photos: Collection[str], classes: ClassNames
) -> dict[str, list[File]]:
    """Find the files of each photo.

    A file of arrays has the photo's name. An image of one class lies in a folder that is named by
    the class or by the photo, or has the class after the photo's name (`rex_dog.png`): whichever
    fits most images.
    """
    finder = PhotoFinder(photos)
    found: dict[str, list[File]] = {}
    images = []
    for file in sorted(file for file in files if not is_hidden(file)):
        path = PurePosixPath(file)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        elif path.suffix.lower() in ARRAY_SUFFIXES and (
            photo := finder.find(path.with_suffix("").as_posix())
        ):
            found.setdefault(photo, []).append((file, None))
    readings = [_read_names(images, split, finder, classes) for split in SPLITS]
    for file, (photo, key) in max(readings, key=len).items():
        found.setdefault(photo, []).append((file, key))
    return found


def _read_names(
    images: Sequence[PurePosixPath],
    split: Callable[[PurePosixPath], Iterator[tuple[str, str]]],
    finder: PhotoFinder,
    classes: ClassNames,
) -> dict[str, tuple[str, Key]]:
    found = {}
    for path in images:
        for name, key in split(path):
            if classes.knows(key) and (photo := finder.find(name)):
                found[str(path)] = photo, as_key(key)
                break
    return found


def _by_class(path: PurePosixPath) -> Iterator[tuple[str, str]]:
    """Split `dog/beach/rex.png`, and `beach/dog/rex.png`, into photo and class."""
    parts = path.with_suffix("").parts
    for at in dict.fromkeys((0, len(parts) - 2)):
        if 0 <= at < len(parts) - 1:
            yield "/".join((*parts[:at], *parts[at + 1 :])), parts[at]


def _by_photo(path: PurePosixPath) -> Iterator[tuple[str, str]]:
    """Split `beach/rex/dog.png`."""
    yield path.parent.as_posix(), path.stem


def _by_suffix(path: PurePosixPath) -> Iterator[tuple[str, str]]:
    """Split `beach/rex_dog.png`; the class's own name may have separators."""
    for mark in re.finditer(r"[-_. ]+", path.stem):
        yield (path.parent / path.stem[: mark.start()]).as_posix(), path.stem[mark.end() :]


SPLITS = (_by_class, _by_photo, _by_suffix)


@dataclass(frozen=True)
class MapsInspection:
    """Result of reading the maps of a photo.

    Attributes:
        keys: Names of the classes in its files; None for a map of every class.
        count: Number of maps.
        problems: Their faults.
    """

    keys: list[Key] | None = None
    count: int = 0
    problems: tuple[str, ...] = ()


def inspect_maps(
    readers: Sequence[Callable[[], ScoreMaps]],
    keys: Sequence[Key | None],
    width: int,
    height: int,
    num_classes: int,
) -> MapsInspection:
    """Read all maps of a photo of a width and height in pixels; see `read_maps`."""
    try:
        given = read_maps(readers, keys)
    except Exception as error:
        return MapsInspection(problems=(f"the maps cannot be read: {why_unreadable(error)}",))
    if 0 in given.maps.shape[1:]:
        return MapsInspection(problems=("the maps have no pixels",))
    problems = []
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(given.maps.astype(np.float32)).all()
    if not is_finite:
        problems.append("the maps are NaN or infinite, or beyond what 32 bits hold")
    elif given.maps.min(initial=0) < 0:
        problems.append("the maps have scores below 0; write probabilities, or what a ReLU gives")
    if width != height and given.maps.shape[1:] == (width, height):
        problems.append(f"the maps are {width} rows of {height}, which is the photo turned")
    if given.keys is None and len(given.maps) not in (num_classes, num_classes + 1):
        problems.append(
            f"the file has {len(given.maps)} maps without keys; without them there must be one "
            f"of each of the {num_classes} classes, with or without a background before them"
        )
    return MapsInspection(given.keys, len(given.maps), tuple(problems))


def read_maps(readers: Sequence[Callable[[], ScoreMaps]], keys: Sequence[Key | None]) -> ScoreMaps:
    """Read the maps of a photo from its file, or from its files of one class each.

    Args:
        readers: Of its files.
        keys: Class in the name of each file.
    """
    parts = [read() for read in readers]
    if len(parts) == 1 and keys[0] is None:
        return parts[0]
    if None in keys:
        raise ValueError("there are several files of it; leave one")
    if len({part.maps.shape for part in parts}) > 1:
        raise ValueError("they are of different sizes")
    named = [key for key in keys if key is not None]
    return ScoreMaps(named, np.concatenate([part.maps for part in parts]))


def _compare(keys: Sequence[Key], tags: set[int], classes: ClassNames, shift: int) -> Iterator[str]:
    """Say which maps a photo lacks, and which are of no tag of its.

    Maps of classes that it does not show are no mistake where there is one of every class.
    """
    labels = {key: classes.find(key, shift) for key in keys}
    for key, label in labels.items():
        if label is None:
            yield f"there is a map of '{key}', which is no class (of {len(classes.names)})"
    found = {label for label in labels.values() if label}
    if len(found) < len(classes.names):
        for label in sorted(found - tags):
            yield f"there is a map of {classes.names[label - 1]}, which is not among its tags"
    for label in sorted(tags - found):
        yield f"there is no map of its tag {classes.names[label - 1]}"


def compare_all(
    looks: Mapping[str, MapsInspection], tags: Mapping[str, set[int]], classes: ClassNames
) -> tuple[int, dict[str, list[str]]]:
    """Compare the maps of all photos with their tags.

    Args:
        looks: Photo id to what its maps are.
        tags: Photo id to the labels of its tags, of all photos that need maps.

    Returns:
        The label of number 0, with which most photos' maps fit their tags; and the photos of each
        problem.
    """
    keys = {photo: look.keys for photo, look in looks.items() if look.keys is not None}

    def fitting(shift: int) -> int:
        return sum(
            {classes.find(key, shift) for key in own} - {0} == tags[photo]
            for photo, own in keys.items()
        )

    shift = max(SHIFTS, key=fitting)
    wrong: dict[str, list[str]] = {}
    for photo, own in tags.items():
        look = looks.get(photo, MapsInspection(problems=("the photo has no class maps",)))
        compared = _compare(keys[photo], own, classes, shift) if photo in keys else ()
        for line in (*look.problems, *compared):
            wrong.setdefault(line, []).append(photo)
    return shift, wrong


def select_tagged(
    given: ScoreMaps, tags: Collection[int], classes: ClassNames, shift: int
) -> ClassMaps:
    """Take the maps of a photo's tags, each with a maximum of one, as the paper's CAMs have."""
    keys = given.keys
    if keys is None:
        first = len(classes.names) + 1 - len(given.maps)  # label of the first map
        labels: list[int | None] = [*range(first, len(classes.names) + 1)]
    else:
        labels = [classes.find(key, shift) for key in keys]
    rows = [labels.index(tag) for tag in tags]
    maps: npt.NDArray[Any] = given.maps[rows].astype(np.float32)
    peaks = maps.max(axis=(1, 2), keepdims=True, initial=0)
    scaled = np.divide(maps, peaks, out=np.zeros_like(maps), where=peaks > 0)
    return ClassMaps(np.array([*tags], np.uint8), scaled.astype(np.float16))
