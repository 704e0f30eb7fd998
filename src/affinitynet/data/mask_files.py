"""Which of a folder's mask files belongs to which photo."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from affinitynet.data.folders import without_roles
from affinitynet.data.matching import PhotoFinder

FEW = 0.1
"""Share of the masks, or of the photos if these are fewer, below which nothing matches."""
MAX_TRIED = 50
"""Masks whose names are compared with those of all photos."""


@dataclass(frozen=True)
class MaskFiles:
    """Masks and photos, brought together by their names.

    Attributes:
        files: Photo id to the mask's name.
        notes: Assumptions, one line each.
        problems: Why nothing matches: the run stops.
    """

    files: dict[str, str]
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def match_mask_files(masks: Collection[str], photos: Collection[str], path: str) -> MaskFiles:
    """Find the photo of each mask by its name, `beach/rex` for `beach/rex.png`.

    Names may differ in case and in folders (`train/masks/rex`, `train/images/rex`). Where nothing
    matches, an affix is looked for that all masks share, as in `rex_mask` or `mask_rex`.

    Args:
        masks: Names in the folder, without suffix.
        path: The folder, for messages.
    """
    found = _find({mask: mask for mask in masks}, photos)
    few = FEW * min(len(masks), len(photos))
    if not masks or not photos or len(found) > few:
        return MaskFiles(found, [*_list_unused(found, masks, path)])
    prefix, suffix = shared_affix(masks, photos)
    affixed = re.compile(f"{re.escape(prefix)}(.+){re.escape(suffix)}", re.DOTALL)
    bare = {
        mask: str(PurePosixPath(mask).with_name(name[1]))
        for mask in masks
        if (name := affixed.fullmatch(PurePosixPath(mask).name))
    }
    if (prefix or suffix) and len(changed := _find(bare, photos)) > max(few, len(found)):
        note = f"masks={path}: the masks are named {prefix}<photo>{suffix}"
        return MaskFiles(changed, [note, *_list_unused(changed, masks, path)])
    if several := _list_rivals(masks, photos):
        first, second, photo = several
        problem = (
            f"photos have several masks, as '{first}' and '{second}' of '{photo}'; keep one for "
            "each photo, or name the folder that has one"
        )
    else:
        problem = (
            f"{len(found) or 'none'} of the {len(masks)} masks "
            f"{'have' if len(found) > 1 else 'has'} the name of a photo: there is a mask "
            f"'{min(masks)}' and a photo '{min(photos)}'; name them alike"
        )
    return MaskFiles(found, problems=[f"masks={path}: {problem}"])


def shared_affix(masks: Collection[str], photos: Collection[str]) -> tuple[str, str]:
    """Find the prefix and suffix that most masks have around the name of a photo."""
    names = {PurePosixPath(photo).name.casefold() for photo in photos}
    lengths = sorted({len(name) for name in names}, reverse=True)
    votes: Counter[tuple[str, str]] = Counter()
    chosen = sorted(masks)[:: max(1, len(masks) // MAX_TRIED)]
    for mask in chosen:
        name = PurePosixPath(mask).name
        votes.update(
            {
                (name[:start], name[start + length :])
                for length in lengths
                for start in range(len(name) - length + 1)
                if name[start : start + length].casefold() in names
            }
        )
    # of affixes that as many have the shortest
    best = max(votes, key=lambda affix: (votes[affix], -len("".join(affix))), default=("", ""))
    return best if votes[best] > len(chosen) / 2 else ("", "")


def _find(names: Mapping[str, str], photos: Collection[str]) -> dict[str, str]:
    """Find the photo of each mask, exact names first; of several masks of one photo none.

    Each is looked for by a name. Folders are of no interest where a file's name is the only one of
    its kind on either side.
    """
    known = {*photos}
    exact = {photo: mask for mask, photo in names.items() if photo in known}
    finder = PhotoFinder(photos)
    bare = _unique((without_roles(photo), photo) for photo in photos)
    bases = _unique((PurePosixPath(photo).name, photo) for photo in photos)
    unique = _unique((PurePosixPath(name).name, mask) for mask, name in names.items())
    others: dict[str, list[str]] = {}
    for mask, name in names.items():
        photo = finder.find(name) or bare.get(without_roles(name))
        photo = photo or finder.find(without_roles(name))
        if photo is None and (base := PurePosixPath(name).name) in unique:
            photo = bases.get(base)
        if photo is not None and photo not in exact:
            others.setdefault(photo, []).append(mask)
    return exact | {photo: each[0] for photo, each in others.items() if len(each) == 1}


def _list_rivals(masks: Collection[str], photos: Collection[str]) -> tuple[str, str, str] | None:
    """Find two masks of one photo: in different folders, or with different suffixes."""
    bases = _unique((PurePosixPath(photo).name, photo) for photo in photos)
    first: dict[str, str] = {}
    for mask in sorted(masks):
        base = PurePosixPath(mask).name
        if base not in bases:  # two that differ only in their suffix keep it in their names
            base = PurePosixPath(base).stem
        if base in bases and base in first:
            return first[base], mask, bases[base]
        first[base] = mask
    return None


def _unique(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: each[0] for key, each in values.items() if len(each) == 1}


def _list_unused(found: Mapping[str, str], masks: Collection[str], path: str) -> Iterator[str]:
    if unused := sorted({*masks}.difference(found.values())):
        yield f"masks={path}: {len(unused)} masks are of no photo: {unused[0]}, …"
