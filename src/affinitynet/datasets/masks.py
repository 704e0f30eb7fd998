"""Masks for scoring: a folder of images, or drawn from a file of outlines."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np
from kedro.io import AbstractDataset, DatasetError

from affinitynet.core.label_maps import LabelMap
from affinitynet.data.files import JPEG_SUFFIXES, is_hidden, name_photos
from affinitynet.data.folders import is_instances, named_as_masks, read_place
from affinitynet.data.mask_files import MaskFiles, match_mask_files
from affinitynet.data.masks import DrawnMasks, draw_masks
from affinitynet.data.tag_file import MasksHeader, parse_source
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.label_map import read_labelmap
from affinitynet.datasets.photos import PhotosDataset
from affinitynet.datasets.tags import TagsDataset

EXACT = (".png", ".bmp", ".gif", ".tif", ".tiff")
MASK_SUFFIXES = (*EXACT, *JPEG_SUFFIXES)
"""Files that are taken for masks, in lower or upper case; a JPEG cannot be one, and is reported."""
LABELMAP = "labelmap.txt"
"""File that CVAT writes beside the folder of masks."""
SAMPLE = 20
"""Masks that are looked at to find out whether they show one kind of object in 255."""
BINARY = {0, 255}


class Masks(dict[str, Callable[[], LabelMap]]):
    """Photo id to a function that reads or draws the mask.

    Attributes:
        binary: Whether the files have 255 for the object and nothing but 0 beside it.
    """

    binary = False


class MasksDataset(FolderDataset):
    """Masks by photo id: images of a folder, or drawn from annotations' outlines.

    Images are found by the photos' names, see `data.mask_files.match_mask_files`, and may be of
    any kind that `core.label_maps.read_mask` knows. Where all have the values 0 and 255 only, 255
    is read as 1.

    Args:
        photos: Folder of the photos, which masks are of; None for the masks' own names.
        labelmap: CVAT's `labelmap.txt`, which names the colours of masks that are colour images;
            None for one that lies in the folder or beside it.
        **kwargs: Of `FolderDataset`; `path` may be a file: COCO, CVAT, Label Studio; or a folder
            of LabelMe's or YOLO's files.

    Example:
        ```yaml
        masks:
          type: affinitynet.datasets.MasksDataset
          path: data/01_raw/instances_val2017.json
          photos: data/01_raw/val2017
        ```
    """

    def __init__(
        self, *, photos: str | None = None, labelmap: str | None = None, **kwargs: Any
    ) -> None:
        found = labelmap or find_labelmap(kwargs["path"])
        item = {"type": "affinitynet.datasets.LabelMapDataset", "labelmap": found}
        super().__init__(**{"dataset": item} | kwargs)
        self._photos = photos

    def load(self) -> Masks:
        """List the masks: photo id to a function that reads or draws the mask."""
        if files := super().load():
            matched, _ = match_folder(self._path, [*files], self._photos)
            return _read_images({photo: files[file] for photo, file in matched.files.items()})
        try:
            drawn = read_drawn(self._path, self._photos)
        except (OSError, ValueError):
            return Masks({})  # as a folder without masks: the checks of the input say why
        return Masks(drawn.masks)

    def _list_partitions(self) -> list[str]:
        paths = super()._list_partitions()
        files = [self._path_to_partition(path) for path in paths]
        chosen = {*choose_images(files, among=lie_among(self._path, self._photos))}
        return [path for path in paths if self._path_to_partition(path) in chosen]


def lie_among(path: str, photos: str | None) -> bool:
    """Whether a folder of masks has the photos in it, too."""
    return photos is not None and Path(photos).resolve().is_relative_to(Path(path).resolve())


def choose_images(files: list[str], *, among: bool = False) -> list[str]:
    """Choose the masks among the files of a folder.

    Where photos are among them, masks are known by their folder (`masks/`), by their name
    (`rex_mask.png`), or as `rex.png` beside `rex.jpg`.
    """
    images = [
        file
        for file in files
        if PurePosixPath(file).suffix.lower() in MASK_SUFFIXES and not is_hidden(file)
    ]
    places = {file: read_place(PurePosixPath(file).parts[:-1]) for file in images}
    chosen = [file for file, place in places.items() if place.is_mask]
    chosen = [file for file in chosen if not is_instances(file)] or chosen
    named = named_as_masks(images) if among else set()
    chosen = chosen or [file for file in images if file in named]
    if among and not chosen:
        jpegs = {_stem(file) for file in images if _is_jpeg(file)}
        return [file for file in images if not _is_jpeg(file) and _stem(file) in jpegs]
    chosen = chosen or images
    return [file for file in chosen if not _is_jpeg(file)] or chosen


def _is_jpeg(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in JPEG_SUFFIXES


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def match_folder(
    path: str, files: list[str], photos: str | None
) -> tuple[MaskFiles, frozenset[str]]:
    """Find the photos of a folder's masks, and the masks' own ids where they lie among these."""
    names = name_photos(files)
    if photos is None:
        return MaskFiles(names), frozenset()
    inside = {os.path.relpath(Path(path) / file, photos) for file in files}
    known = PhotosDataset(path=photos).load()
    among = {photo for photo in known if photo in inside}
    stems = {_stem(file) for file in inside}
    among |= {photo for photo in known if photo in stems and photo not in names.values()}
    others = [
        photo
        for photo in known
        if photo not in among and not read_place(PurePosixPath(photo).parts[:-1]).is_mask
    ]
    matched = match_mask_files([*names], others, path)
    found = {photo: names[mask] for photo, mask in matched.files.items()}
    return MaskFiles(found, matched.notes, matched.problems), frozenset(among)


def find_labelmap(path: str) -> str | None:
    """Find the `labelmap.txt` in a folder of masks, or beside it."""
    beside = (Path(path) / LABELMAP, Path(path).parent / LABELMAP)
    return next((str(file) for file in beside if os.path.isfile(file)), None)


def _read_images(readers: dict[str, Callable[[], LabelMap]]) -> Masks:
    ids = [*readers][:: max(1, len(readers) // SAMPLE)][:SAMPLE]
    values = {*()}
    for image_id in ids:
        try:
            values |= {*np.unique(readers[image_id]()).tolist()}
        except Exception:  # the checks of the input report it
            continue
    if 255 not in values or not values <= BINARY:
        return Masks(readers)
    masks = Masks({image_id: partial(_read_object, read) for image_id, read in readers.items()})
    masks.binary = True
    return masks


def _read_object(read: Callable[[], LabelMap]) -> LabelMap:
    mask = read()
    if wrong := {*np.unique(mask).tolist()} - BINARY:
        raise ValueError(f"has the values {sorted(wrong)}, where the others have 0 and 255 only")
    return np.asarray(mask == 255, np.uint8)


class MasksHeaderDataset(AbstractDataset[NoReturn, MasksHeader | None]):
    """Header of the masks' file: its classes, in the order of the mask values.

    It has no pixels, so that the numbering of the classes is known where masks must not be.

    The arguments are those of `MasksDataset`; `path` is None for no masks.
    """

    def __init__(
        self,
        *,
        path: str | None,
        photos: str | None = None,
        labelmap: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._path = path
        self._photos = photos
        self._labelmap = labelmap
        self.metadata = metadata

    def load(self) -> MasksHeader | None:
        """Read the names of the mask values, and say which images belong to no photo."""
        if self._path is None:
            return None
        if not Path(self._path).exists():
            return MasksHeader([], [], f"masks={self._path}: there is no such file or folder")
        if images := list_images(self._path, self._photos):
            matched, among = match_folder(self._path, images, self._photos)
            classes = []
            problems = [*matched.problems]
            try:
                if labelmap := self._labelmap or find_labelmap(self._path):
                    classes = read_labelmap(labelmap).classes
            except (OSError, ValueError) as error:
                problems.append(str(error))
            return MasksHeader(classes, matched.notes, "; ".join(problems), among)
        try:
            drawn = read_drawn(self._path, self._photos)
        except OSError as error:
            problem = f"masks={self._path}: cannot be read ({error.strerror})"
        except ValueError as error:
            problem = str(error).replace("tags=", "masks=", 1)
            if Path(self._path).is_dir() and "is a folder without" in problem:
                problem = f"masks={self._path}: has no masks ({', '.join(EXACT)}), and no outlines"
        else:
            return MasksHeader(drawn.classes, drawn.notes)
        return MasksHeader([], [], problem)

    def save(self, data: NoReturn) -> NoReturn:
        """Refuse: the files are the user's own."""
        raise DatasetError(f"'{self._path}' is the user's own: it is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path, "photos": self._photos, "labelmap": self._labelmap}


def list_images(path: str, photos: str | None) -> list[str]:
    """List the masks of a folder, as `MasksDataset` does."""
    files = [file for file in Path(path).rglob("*") if file.is_file()]
    names = sorted(file.relative_to(path).as_posix() for file in files)
    return choose_images(names, among=lie_among(path, photos))


def _has_no_size() -> NoReturn:
    raise ValueError("its file gives no width and height of the image; add them")


def read_drawn(path: str, photos: str | None) -> DrawnMasks:
    """Read a file, or a folder, of outlines.

    Raises:
        ValueError: If it is in no known format.
    """
    given = parse_source(TagsDataset(filepath=path).load() or {}, path, ";")
    if photos is None:
        return draw_masks(given, {row.file: _has_no_size for row in given.rows}, path)
    return draw_masks(given, PhotosDataset(path=photos).load(), path)
