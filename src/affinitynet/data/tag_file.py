"""Tags of a folder of photos, from a file, a folder of files, or the names of sub-folders."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from affinitynet.data import annotation_tools as tools
from affinitynet.data.annotation_tools import Files
from affinitynet.data.coco import parse_coco
from affinitynet.data.files import PHOTO_SUFFIXES, Partitions, is_hidden
from affinitynet.data.folders import class_of, read_places
from affinitynet.data.matching import PhotoFinder, is_utf8, same_file
from affinitynet.data.names import clean_tags, list_names, read_split
from affinitynet.data.parameters import DataSet
from affinitynet.data.rows import Row, TagFile, count_notes
from affinitynet.data.tag_table import (
    decode_text,
    interpret,
    is_transposed,
    parse_entries,
    read_csv,
    read_json_lines,
    transpose,
)
from affinitynet.data.tagged import SPLITS, Tagged, choose_classes
from affinitynet.errors import MAX_NAMED, name_some

TagSource = bytes | Files | None
"""A tag file, the files of a folder of annotations, or nothing."""
MALFORMED = (TypeError, KeyError, IndexError, AttributeError, OverflowError)
"""Of files of annotation tools that are not as the tools write them."""
TABLES = (".csv", ".tsv", ".jsonl", "coco.json")
"""Files that may lie in the folders of several splits, as Roboflow writes them."""
INSTANCES = re.compile(r"instances_([a-z]+)\d*\.json")
"""COCO's files of a split."""
ANNOTATIONS = (".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml")
"""Files that may have the tags of photos beside them."""


@dataclass(frozen=True)
class MasksHeader:
    """Header of a file of outlines, from which masks are drawn.

    Attributes:
        classes: Names of the mask values 1, 2, ….
        notes: Skipped or repaired entries, one line each.
        problem: Why the file cannot be read; empty where it can.
        among: Ids that the masks have where they lie among the photos.
    """

    classes: list[str]
    notes: list[str]
    problem: str = ""
    among: frozenset[str] = frozenset()


def read_tagged(
    photos: Partitions[Any],
    data_set: DataSet,
    source: TagSource,
    masks: MasksHeader | None = None,
) -> Tagged:
    """Read the tags of a folder of photos.

    Args:
        data_set: See `conf/tagged/parameters.yml`; its `tags` is the file's path.
        source: None for sub-folders that are named by class: `dog/rex` shows a dog, and so does
            `train/dog/rex`. Photos that lie in no folder of a class have no tags.
        masks: Of the file that masks are drawn from; None for masks that are images.

    Raises:
        ValueError: If the file is no tag file at all.
    """
    path, separator = data_set.tags, data_set.separator
    if path and source is None:
        raise ValueError(f"tags={path}: there is no such file")
    others = {_plain(file) for file in getattr(photos, "others", ())}
    links = sorted(getattr(photos, "links", ()))
    if masks and masks.among:
        photos = {i: read for i, read in photos.items() if i not in masks.among}
    if source is None:
        places, problems, notes = read_places([i for i in photos if is_utf8(i)])
        rows = [Row(i, i, class_of(place), place.split) for i, place in places.items()]
        given = TagFile(rows, notes=notes, problems=problems)
        # not what lies in folders of masks
        photos = {i: read for i, read in photos.items() if i in places or not is_utf8(i)}
        if photos and not any(row.tags for row in given.rows):
            beside = sorted(file for file in others if file.lower().endswith(ANNOTATIONS))
            raise ValueError(
                "no sub-folder names a class: give the tags with tags=<file or folder>"
                + (f"; there is {beside[0]}" if beside else "")
            )
    else:
        given = parse_source(source, path, separator)
    if links:
        note = f"links to folders are not followed; copy what they lead to: {', '.join(links)}"
        given = replace(given, notes=[*given.notes, note])
    if path is None and isinstance(source, Mapping):
        path = ", ".join(source)
    return _match(given, photos, data_set, masks, path, others)


def parse_source(source: bytes | Files, path: str | None, separator: str) -> TagFile:
    """Read a file, or the files of a folder, in the format that its content shows.

    Raises:
        ValueError: If it is in none.
    """
    try:
        if isinstance(source, bytes):
            return parse_file(source, str(path), separator)
        if path is not None:
            return _parse_folder(source, path, separator)
        return _join(source, "", separator)  # what `datasets` puts beside the photos
    except ValueError as error:
        if path is None or path in str(error):
            raise
        raise ValueError(f"tags={path}: {error}") from error
    except MALFORMED as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"tags={path}: something in it has another form ({reason})") from error


def _parse_folder(files: Files, path: str, separator: str) -> TagFile:
    """Read a folder of annotations: a file for each photo, or one file only."""
    objects = (_load_json(read()) for _, read in tools.with_suffix(files, ".json"))
    if any(tools.is_labelme(each) for each in objects):
        entries = ((file, _load_json(read())) for file, read in tools.with_suffix(files, ".json"))
        return tools.parse_labelme(entries, path)
    if len(files) == 1:
        ((file, read),) = files.items()
        return parse_file(read(), f"{path}/{file}", separator)
    if instances := {file: read for file, read in files.items() if _instances_split(file)}:
        return _join(instances, f"{path}/", separator)  # beside COCO's captions and keypoints
    if tables := {file: read for file, read in files.items() if file.lower().endswith(TABLES)}:
        return _join(tables, f"{path}/", separator)
    if tools.with_suffix(files, ".txt"):
        return tools.parse_yolo(files, path)
    if tools.with_suffix(files, ".xml"):
        return tools.parse_voc_folder(files, path)
    raise ValueError(
        f"tags={path}: is a folder without annotations (LabelMe's JSON, YOLO's txt, VOC's XML); "
        "give a file, or none where sub-folders are named by class"
    )


def _instances_split(file: str) -> str | None:
    """Read the split in the name of one of COCO's files: `instances_train2014.json`."""
    named = INSTANCES.fullmatch(PurePosixPath(file).name)
    return read_split(named[1]) if named else None


def _load_json(data: bytes) -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value.pop("imageData", None)  # the photo itself
    return value


def parse_file(source: bytes, path: str, separator: str) -> TagFile:
    """Read a tag file: CSV, JSON Lines, JSON, COCO, or what annotation tools export.

    Raises:
        ValueError: If it is none of them.
    """
    text, notes = decode_text(source, path)
    if not text.strip():
        raise ValueError(f"tags={path}: the file is empty")
    parsed = _parse_text(text, path, separator)
    return replace(parsed, notes=[*notes, *parsed.notes])


def _parse_text(text: str, path: str, separator: str) -> TagFile:
    start = text.lstrip()[0]
    if start == "<":
        return tools.parse_cvat(text, path)
    if start not in "{[":
        return interpret(read_csv(text, path), path, separator)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return parse_entries(read_json_lines(text, path), path, separator)
    if tools.is_via(value):
        return tools.parse_via(value, path)
    if tools.is_labelme(value):
        return tools.parse_labelme([(path, value)], path)
    entries: Iterable[tuple[str, Any]]
    if isinstance(value, dict) and isinstance(value.get("labels"), dict):
        entries = tools.list_fiftyone(value, path)
    elif is_transposed(value):
        entries = transpose(value, path)
    else:
        if isinstance(value, dict) and value and all(map(_is_photo, value)):
            value = [{"file": file, "tags": tags} for file, tags in value.items()]
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            if all(isinstance(each.get("data"), dict) for each in value):
                return tools.parse_label_studio(value, path)
            entries = ((f"{path}, entry {number}", each) for number, each in enumerate(value, 1))
        elif isinstance(value, dict) and "images" not in value and "annotations" not in value:
            entries = [(f"{path}, line 1", value)]
        else:
            return parse_coco(value, path)
    return parse_entries(entries, path, separator)


def _is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES)


def _join(files: Files, prefix: str, separator: str) -> TagFile:
    """Join the tag files of several splits, which their folders or COCO's names tell."""
    rows: list[Row] = []
    notes: list[str] = []
    classes: list[str] = []
    partial = False
    for file, read in sorted(files.items()):
        part, folder = parse_file(read(), prefix + file, separator), PurePosixPath(file).parent
        split = _instances_split(file) or read_split(folder.name) or ""
        rows += [
            replace(row, file=(folder / row.file).as_posix(), split=row.split or split)
            for row in part.rows
        ]
        notes += part.notes
        classes += part.classes or []
        partial |= part.partial
    return TagFile(rows, [*dict.fromkeys(classes)] or None, notes, partial)


def read_known_tags(
    photos: Collection[str], source: TagSource, path: str, separator: str
) -> dict[str, list[str]]:
    """Read the tags of photos that are not learned from; splits do not matter.

    Args:
        separator: Characters, any of which separates two tags in a cell.

    Returns:
        Photo id to its tags, of the photos that the file names.

    Raises:
        ValueError: If it is no tag file, or names none of the photos.
    """
    if source is None:
        raise ValueError(f"tags={path}: there is no such file")
    given = parse_source(source, path, separator)
    if given.problems:
        raise ValueError(f"tags={path}: " + name_some(given.problems, "; "))
    finder = PhotoFinder(photos)
    tags: dict[str, list[str]] = {}
    for row in given.rows:
        if image_id := finder.find(row.file):
            tags.setdefault(image_id, []).extend(row.tags)
    if not tags:
        raise ValueError(f"tags={path}: it names none of the {len(photos)} photos")
    return {image_id: clean_tags(some) for image_id, some in tags.items()}


def _match(
    given: TagFile,
    photos: Collection[str],
    data_set: DataSet,
    masks: MasksHeader | None,
    path: str | None,
    others: Collection[str],
) -> Tagged:
    """Bring rows and photos together, and say what does not fit.

    Args:
        path: The tag file; None for sub-folders.
        others: Files that are there, but are no photos.
    """
    import pandas as pd

    listed = list_names(data_set.classes, data_set.separator)
    mask_names = list_names(data_set.mask_classes, data_set.separator)
    finder = PhotoFinder(photos)
    found: dict[str, list[Row]] = {}
    problems, missing, respelled = [*given.problems], [], []
    unread: list[str] = []
    rows = given.rows if photos else []
    if not photos:
        problems.append(f"there is no such folder, or no photo in it ({', '.join(PHOTO_SUFFIXES)})")
    for row in rows:
        image_id = finder.find(row.file)
        if image_id is None:
            plain = _plain(row.file)
            if plain in others or is_hidden(PurePosixPath(plain).name):
                unread.append(row.file)
            elif several := finder.list_possible(row.file):
                missing.append(
                    f"{row.place}: '{row.file}' may be {' or '.join(several[:MAX_NAMED])}; name "
                    "it with its folder and suffix"
                )
            else:
                missing.append(f"{row.place}: there is no photo '{row.file}'")
            continue
        if not same_file(row.file, image_id):
            respelled.append(f"'{row.file}' is {image_id}")
        same = found.setdefault(image_id, [])
        if same and not same_file(row.file, same[0].file):
            problems.append(
                f"{row.place}: '{row.file}' and '{same[0].file}' ({same[0].place}) can only "
                f"mean the same photo, '{image_id}'"
            )
        same.append(row)
    if given.complete:
        folders = {PurePosixPath(image_id).parent for image_id in found}
        for image_id in finder.names.values():
            if PurePosixPath(image_id).parent in folders:
                found.setdefault(image_id, [])
    splits, split_problems, left_out = _read_splits(found, path)
    problems += [] if given.problems else split_problems
    repeated = sum(len(each) > 1 for each in found.values())
    found = {image_id: each for image_id, each in found.items() if image_id in splits}
    tags = {
        image_id: clean_tags(tag for row in each for tag in row.tags)
        for image_id, each in found.items()
    }
    seen = Counter(tag for each in tags.values() for tag in each)
    names = clean_tags(given.classes) if given.classes is not None else None
    ordered = [name for name in names if name in seen] if names is not None else sorted(seen)
    problems += _list_unseen(clean_tags(listed or ()), seen)
    masks = masks or MasksHeader([], [])
    problems += [masks.problem] if masks.problem else []
    default = masks.classes or (names if given.partial else None)
    classes, mask_names, wrong, notes = choose_classes(ordered, listed, mask_names, default)
    unnamed = len(finder.names) - len(found) - left_out
    warnings = [
        *given.notes,
        *masks.notes,
        *notes,
        *count_notes(
            path or "the folders",
            {
                "photos with more than one entry, their tags are united": repeated,
                "photos of the split test, left out": left_out,
            },
        ),
        *_list_warnings(seen, classes, unnamed=unnamed, path=path),
    ]
    if respelled:
        some = name_some(respelled)
        warnings.append(f"files that are found by a part of their path: {len(respelled)} ({some})")
    if nameless := [image_id for image_id in photos if not is_utf8(image_id)]:
        shown = name_some([name.encode(errors="backslashreplace").decode() for name in nameless])
        warnings.append(f"photos whose names are no UTF-8 are left out; rename them: {shown}")
    if unread:
        some = name_some(unread)
        warnings.append(f"{len(unread)} files whose suffix is no photo's are left out: {some}")
    if given.partial and found:
        warnings += [f"{len(missing)} photos of {path} are not in the folder"] if missing else []
    elif len(missing) == len(rows) > 1 and " may be " not in missing[0]:
        problems.append(
            f"none of the {len(rows)} files that {path} names is in the folder: it names "
            f"'{rows[0].file}', the folder has '{next(iter(photos))}'"
        )
    else:
        problems += missing
    table = pd.DataFrame(
        {"tags": list(tags.values()), "split": [splits[image_id] for image_id in found]},
        index=pd.Index(list(found), name="id", dtype=object),
    )
    return Tagged(table, classes, mask_names, [*wrong, *problems], warnings)


def _plain(file: str) -> str:
    return file.strip().replace("\\", "/").removeprefix("./")


def _read_splits(
    found: Mapping[str, list[Row]], path: str | None
) -> tuple[dict[str, str], list[str], int]:
    """Read the split of each photo; test is val where nothing else is, and is left out elsewhere.

    Returns:
        Split by photo, what is wrong, and the number of photos that are left out.
    """
    splits: dict[str, str] = {}
    problems = []
    for image_id, rows in found.items():
        names = {}
        for row in rows:
            if row.split.strip() and read_split(row.split) is None:
                problems.append(
                    f"{row.place}: the split '{row.split}' is none of {', '.join(SPLITS)}"
                )
            elif row.split.strip():
                names[read_split(row.split)] = row.place
        if len(names) > 1:
            problems.append(f"'{image_id}' is in two splits: {', '.join(map(str, names.values()))}")
        splits[image_id] = str(next(iter(names), ""))
    if "val" not in splits.values():
        splits = {i: "val" if split == "test" else split for i, split in splits.items()}
    kept = {image_id: split for image_id, split in splits.items() if split != "test"}
    if len(kept) > 1 and {*kept.values()} == {"train"}:  # as of a folder that has train only
        kept = dict.fromkeys(kept, "")
    if len({bool(split) for split in kept.values()}) > 1 and not problems:
        problems.append(f"tags={path}: some photos have a split and some have none")
    return kept, problems, len(splits) - len(kept)


def _list_unseen(listed: Collection[str], seen: Collection[str]) -> Iterator[str]:
    """Name the listed classes that no photo shows."""
    for name in listed:
        if name not in seen:
            near = [tag for tag in seen if tag.casefold() == name.casefold()]
            tags = ", ".join(near or sorted(seen)[: 4 * MAX_NAMED]) or "none"
            yield f"parameter classes: no photo has the tag '{name}'; the tags are: {tags}"


def _list_warnings(
    seen: Mapping[str, int], classes: Collection[str], *, unnamed: int, path: str | None
) -> Iterator[str]:
    if unnamed:
        yield f"{unnamed} photos in the folder are not named in {path}: they are left out"
    if unlisted := {tag: uses for tag, uses in seen.items() if tag not in classes}:
        named = ", ".join(f"{tag} ({uses})" for tag, uses in sorted(unlisted.items()))
        yield f"tags that are none of the classes are left out: {named}"
    folded = Counter(tag.casefold() for tag in seen)
    if alike := sorted(tag for tag in seen if folded[tag.casefold()] > 1):
        yield f"tags that differ only in case are different classes: {', '.join(alike)}"
