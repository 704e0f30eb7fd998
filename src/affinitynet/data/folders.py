"""Meaning of the folders of a data set: a class, a split, a role, or nothing."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from affinitynet.data.files import PHOTO_SUFFIXES
from affinitynet.data.names import is_background, read_split

PHOTO_ROLES = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pic"}
PHOTO_ROLES |= {"pics", "jpeg", "jpegs", "jpg", "png", "frames", "input", "inputs", "rgb"}
MASK_ROLES = {"mask", "masks", "label", "labels", "annotation", "annotations", "seg", "segs"}
MASK_ROLES |= {"segmentation", "segmentations", "gt", "groundtruth", "truth", "annot", "annots"}
FILLERS = {"data", "dataset", "datasets", "set", "folder", "dir", "split", "splits", "ground"}
FILLERS |= {"class", "object", "classes", "all", "original", "raw", "aug", "full"}
"""Words beside those of a split or a role, without a meaning of their own."""
FOLDS = {"fold", "folds", "kfold"}
"""Words for parts of the photos, as in `fold_1`: no split that is known, but no class either."""
MASK_NAME = re.compile(
    r"(.+?)[ _.-]+(masks?|labels?|seg|segmentation|gt|ground[ _-]?truth|annotation)", re.IGNORECASE
)
"""Name of a mask beside its photo: `rex_mask`."""
CONTAINERS = {"data", "dataset", "datasets", "raw", "original"}
"""Names of folders that hold all the rest."""


@dataclass(frozen=True)
class Place:
    """Meaning of the folders above a file.

    Attributes:
        classes: Names of folders that are neither a split nor a role, outermost first.
        splits: train, val or test, of each folder that is a split.
        is_mask: Whether a folder is named as one of masks or labels, not of photos.
    """

    classes: tuple[str, ...]
    splits: tuple[str, ...] = ()
    is_mask: bool = False

    @property
    def split(self) -> str:
        """The split; empty where no folder is one."""
        return self.splits[0] if self.splits else ""


def read_place(folders: Collection[str]) -> Place:
    """Sort folders into classes, splits and roles."""
    classes: list[str] = []
    splits: list[str] = []
    is_mask = False
    for folder in folders:
        words = _words(folder)
        named = {split for word in words if (split := read_split(word))}
        structural = named or words & {"trainval", *PHOTO_ROLES, *MASK_ROLES, *FOLDS}
        if structural and all(_says_nothing(word) or read_split(word) for word in words):
            splits += named if len(named) == 1 else []  # `train_val` is both
            is_mask |= bool(words & MASK_ROLES)
        elif folder.casefold() not in CONTAINERS:
            classes.append(folder)
    return Place(tuple(classes), tuple(splits), is_mask)


def without_roles(name: str) -> str:
    """Leave the folders out that say what kind of file it is: `train/masks/rex` is `train/rex`."""
    *folders, file = PurePosixPath(name).parts
    kept = [each for each in folders if not _is_role(each)]
    return "/".join([*kept, file])


def read_places(photos: Collection[str]) -> tuple[dict[str, Place], list[str], list[str]]:
    """Read what the folders of photos say: their class first, where there is one.

    Folders that all photos share are no classes as long as there are others below them. A split
    that all photos share, as of a folder that has train only, is no split.

    Args:
        photos: Paths in the data set's folder.

    Returns:
        The place of each photo, masks left out; what is wrong; and what may be.
    """
    places = {photo: read_place(PurePosixPath(photo).parts[:-1]) for photo in photos}
    named = named_as_masks(photos)
    masks = [photo for photo, place in places.items() if place.is_mask or photo in named]
    places = {photo: place for photo, place in places.items() if photo not in {*masks}}
    notes = []
    if masks:
        notes.append(
            f"{len(masks)} files are masks by their folders or names, and no photos: {masks[0]}, …"
        )
    while places and len({place.classes[:1] for place in places.values()}) == 1:
        if not all(len(place.classes) > 1 for place in places.values()):
            break
        places = {photo: Place(place.classes[1:], place.splits) for photo, place in places.items()}
    splits = {place.split for place in places.values()}
    if len(splits) == 1 and splits != {""}:
        notes.append(f"all photos lie in folders of {splits.pop()}: train and val are drawn")
        places = {photo: Place(place.classes) for photo, place in places.items()}
    return places, [*_list_doubtful(places)], notes


def _list_doubtful(places: dict[str, Place]) -> Iterator[str]:
    """Name folders that may be a split or a class: VOC and COCO have a class `train`."""
    remedy = "rename a folder that is a class (train: trains), or give tags=<file>"
    for photo, place in places.items():
        if len({*place.splits}) > 1:
            yield f"'{photo}' lies in two splits: {remedy}"
            return
    if any(place.classes for place in places.values()):
        twice = [p for p, place in places.items() if len(place.splits) > 1 and not place.classes]
        if twice:
            yield f"'{twice[0]}' lies in a split twice, and in no class: {remedy}"
    inside = next((photo for photo, place in places.items() if place.split), None)
    outside = next((photo for photo, place in places.items() if not place.split), None)
    if inside and outside:
        yield (
            f"'{inside}' lies in a folder that names a split, '{outside}' in none: move all photos "
            f"into folders of splits, or {remedy}"
        )


def named_as_masks(files: Collection[str]) -> set[str]:
    """Choose files that are named as the mask of another one: `rex_mask` beside `rex`."""
    stems = {_stem(file) for file in files}
    return {
        file for file in files if (name := MASK_NAME.fullmatch(_stem(file))) and name[1] in stems
    }


def _stem(file: str) -> str:
    path = PurePosixPath(file)
    known = path.suffix.lower() in PHOTO_SUFFIXES
    return (path.with_suffix("") if known else path).as_posix()


def is_instances(file: str) -> bool:
    """Whether a folder's name means masks of objects: VOC's `SegmentationObject`."""
    named = {"object", "objects", "instance", "instances"}
    return any(_words(folder) & named for folder in PurePosixPath(file).parts[:-1])


def class_of(place: Place) -> list[str]:
    """Return the class that the outermost folder names, if it names one."""
    return [name for name in place.classes[:1] if not is_background(name)]


def _is_role(folder: str) -> bool:
    words = _words(folder)
    return bool(words & (PHOTO_ROLES | MASK_ROLES)) and all(map(_says_nothing, words))


def _words(folder: str) -> set[str]:
    """Split a folder's name into words: `JPEGImages`, `train2017`, `test_set`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", folder)
    return {word.casefold() for word in re.findall(r"[^\W\d_]+|\d+", spaced)}


def _says_nothing(word: str) -> bool:
    known = {"trainval"} | FILLERS | FOLDS | PHOTO_ROLES | MASK_ROLES
    return word in known or word.isdecimal()
