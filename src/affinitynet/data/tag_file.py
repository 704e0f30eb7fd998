"""Tags of a folder of photos: a CSV, JSON Lines, COCO's instances, or the names of sub-folders.

Each reader turns what it finds into rows: a place (for messages), a file, its tags, its split.
"""

import codecs
import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from affinitynet.data.coco import category_values
from affinitynet.data.files import PHOTO_SUFFIXES, Readers
from affinitynet.data.tagged import BACKGROUND, SPLITS, Tagged, choose_classes

FLAGS = {"1": True, "true": True, "0": False, "false": False, "": False}
"""Cells of a CSV with a column for each class."""


@dataclass(frozen=True)
class Row:
    """What a tag file says of one photo.

    Attributes:
        place: Where it says so, `line 3`.
        file: The photo's file, relative to the folder.
        tags: Names of what it shows.
        split: train or val; empty where it is to be drawn.
    """

    place: str
    file: str
    tags: list[str]
    split: str = ""


def read_tagged(photos: Readers, data_set: dict[str, Any], source: bytes | None) -> Tagged:
    """Read the tags of a folder of photos.

    Args:
        photos: Photo id to a function that reads the photo; only the ids are used.
        data_set: `tags`, the file's path; `classes`, `mask_classes` and `separator`.
        source: The tag file; None without one, for sub-folders that are named by class.

    Raises:
        ValueError: If the file is no tag file at all.
    """
    path = data_set["tags"]
    if path and source is None:
        raise ValueError(f"tags={path}: there is no such file")
    separator = data_set["separator"]
    listed = data_set["classes"]
    if isinstance(listed, str):
        listed = split_tags(listed, separator)
    mask_names = data_set["mask_classes"]
    if source is None:
        return match(read_folders(photos), photos, None, listed, mask_names, None)
    text = decode_text(source, path)
    if not text.strip():
        raise ValueError(f"tags={path}: the file is empty")
    if text.lstrip()[0] not in "{[":
        rows, names = parse_csv(text, path, separator)
        return match(rows, photos, names, listed, mask_names, path)
    if (coco := _whole_json(text)) is None:
        rows = list(parse_json_lines(text, path))
        return match(rows, photos, None, listed, mask_names, path)
    rows, names = parse_coco(coco, path)
    return match(rows, photos, names, listed, mask_names or names, path, partial=True)


def _whole_json(text: str) -> Any:
    """Parse a file that is one JSON value; None if it has one in each line."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if isinstance(value, dict) and "file" in value else value


def parse_csv(text: str, path: str, separator: str) -> tuple[list[Row], list[str] | None]:
    """Read a CSV: a column `tags`, or a column of 0 and 1 for each class.

    Args:
        text: With commas, semicolons or tabs between the columns; the first line names them.
        path: For messages.
        separator: Characters, any of which separates two tags in a cell of `tags`.

    Returns:
        The rows, and the classes of the columns; None where there is a column `tags`.

    Raises:
        ValueError: If columns are missing or lines do not fit.
    """
    header = text.splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    classes = [name for name in columns if name not in ("file", "tags", "split")]
    if "file" not in columns or ("tags" in columns) == bool(classes) or "" in columns:
        raise ValueError(
            f"tags={path}: its columns are {', '.join(columns) or '(an empty line)'}; they must be "
            "file, tags (and split), or file and one for each class (and split)"
        )
    if again := [name for name, uses in Counter(columns).items() if uses > 1]:
        raise ValueError(f"tags={path}: the column {', '.join(again)} is there twice")
    rows = []
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if None in cells or None in cells.values():
                count = len([cell for cell in cells.values() if isinstance(cell, str)])
                count += len(cells.get(None, []))  # type: ignore[call-overload]
                raise ValueError(
                    f"{place}: {count} cells where there are {len(columns)} columns; quote a cell "
                    f"that contains '{delimiter}'"
                )
            if classes:
                tags = [name for name in classes if _flag(cells[name], name, place)]
            else:
                tags = split_tags(cells["tags"], separator)
            rows.append(Row(place, cells["file"], tags, cells.get("split", "")))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.reader.line_num}: {error}") from error
    return rows, classes or None


def _flag(cell: str, column: str, place: str) -> bool:
    try:
        return FLAGS[cell.strip().lower()]
    except KeyError:
        raise ValueError(f"{place}: '{cell}' in the column {column} is neither 0 nor 1") from None


def split_tags(cell: str, separator: str) -> list[str]:
    """Split the tags in a cell at any of the separator's characters."""
    return re.split(f"[{re.escape(separator)}]", cell)


def parse_json_lines(text: str, path: str) -> Iterator[Row]:
    r"""Read JSON Lines: `{"file": "rex.jpg", "tags": ["dog"]}`, and `"split"` if it is given.

    Raises:
        ValueError: If a line is something else.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            file, tags, split = entry["file"], entry["tags"], entry.get("split", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f'{place}: is no {{"file": "…", "tags": ["…", …]}} '
                f"({error if isinstance(error, ValueError) else type(error).__name__})"
            ) from None
        texts = [file, split, *tags] if isinstance(tags, list) else [None]
        if not all(isinstance(each, str) for each in texts):
            raise ValueError(f"{place}: file must be a text and tags a list of texts")
        yield Row(place, file, tags, split)


def parse_coco(coco: Any, path: str) -> tuple[list[Row], list[str]]:
    """Read COCO's instances: an image's tags are the categories of its annotations.

    Returns:
        The rows, and the categories in the order of their ids.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        names = {each["id"]: str(each["name"]).strip() for each in coco["categories"]}
        files = {each["id"]: str(each["file_name"]) for each in coco["images"]}
        tags: dict[Any, dict[str, None]] = {image_id: {} for image_id in files}
        for each in coco["annotations"]:
            tags[each["image_id"]][names[each["category_id"]]] = None
        classes = list(category_values(coco["categories"]))
    except KeyError as error:
        raise ValueError(
            f"tags={path}: is no COCO file of instances: {error} is missing or named nowhere"
        ) from None
    except TypeError:
        raise ValueError(
            f"tags={path}: is neither JSON Lines nor a COCO file with images, annotations and "
            "categories"
        ) from None
    rows = [Row(f"{path}, image {key}", file, [*tags[key]]) for key, file in files.items()]
    return rows, classes


def read_folders(photos: Collection[str]) -> list[Row]:
    """Take the names of sub-folders for tags: `dog/rex` shows a dog, and so does `train/dog/rex`.

    Photos that lie in no sub-folder have no tags.
    """
    parts = {image_id: PurePosixPath(image_id).parts for image_id in photos}
    by_split = bool(parts) and all(each[0] in SPLITS for each in parts.values())
    rows = []
    for image_id, (*folders, _) in parts.items():
        if not _is_utf8(image_id):
            continue
        split = folders.pop(0) if by_split else ""
        rows.append(Row(image_id, image_id, folders[:1], split))
    return rows


def decode_text(data: bytes, path: str) -> str:
    """Decode UTF-8, with or without byte order mark, or the UTF-16 that Excel writes.

    Raises:
        ValueError: If it is neither.
    """
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as "
            "UTF-8 (Excel: 'CSV UTF-8')"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, line {line}: has NUL bytes; save the file as UTF-8")
    return text


def match(
    rows: list[Row],
    photos: Collection[str],
    names: list[str] | None,
    listed: list[str] | None,
    mask_names: list[str] | None,
    path: str | None,
    *,
    partial: bool = False,
) -> Tagged:
    """Bring rows and photos together, and say what does not fit.

    Args:
        rows: What the tag file says.
        photos: Ids of the photos that there are.
        names: The classes in the tag file's own order; None sorts them by name.
        listed: The classes to learn; None for all.
        mask_names: Names of the mask values 1, 2, …; None for the classes.
        path: The tag file; None for sub-folders.
        partial: The folder may lack photos that the file names, as published files have more of
            them than people keep.
    """
    known = {_normal(image_id): image_id for image_id in photos if _is_utf8(image_id)}
    found: dict[str, Row] = {}
    problems, missing = [], []
    nameless = [image_id for image_id in photos if not _is_utf8(image_id)]
    if not photos:
        problems.append(f"there is no such folder, or no photo in it ({', '.join(PHOTO_SUFFIXES)})")
        rows = []
    for row in rows:
        image_id = _find(row.file, known)
        if image_id is None:
            missing.append(f"{row.place}: there is no photo '{row.file}'")
        elif image_id in found:
            problems.append(f"{row.place}: '{row.file}' is named in {found[image_id].place} too")
        else:
            found[image_id] = row
        if row.split.strip() not in ("", *SPLITS):
            problems.append(f"{row.place}: the split '{row.split}' is none of {', '.join(SPLITS)}")
    splits = {bool(row.split.strip()) for row in found.values()}
    if len(splits) > 1:
        problems.append(f"tags={path}: some photos have a split and some have none")
    tags = {image_id: _clean(row.tags) for image_id, row in found.items()}
    seen = Counter(tag for each in tags.values() for tag in each)
    ordered = [name for name in names if name in seen] if names else sorted(seen)
    classes, num_values, wrong = choose_classes(ordered, listed, mask_names)
    warnings = list(_doubts(seen, classes, unnamed=len(known) - len(found), path=path))
    if nameless:
        told = ", ".join(name.encode(errors="backslashreplace").decode() for name in nameless)
        warnings.append(f"photos whose names are no UTF-8 are left out; rename them: {told}")
    if partial and found:
        warnings += [f"{len(missing)} photos of {path} are not in the folder"] if missing else []
    else:
        problems += missing
    table = pd.DataFrame(
        {
            "tags": list(tags.values()),
            "split": [row.split.strip() for row in found.values()],
        },
        index=pd.Index(list(found), name="id", dtype=object),
    )
    return Tagged(table, classes, num_values, [*wrong, *problems], warnings)


def _clean(tags: list[str]) -> list[str]:
    named = (" ".join(tag.split()) for tag in tags)
    return [tag for tag in dict.fromkeys(named) if tag and tag != BACKGROUND]


def _find(file: str, known: Mapping[str, str]) -> str | None:
    if (exact := _normal(file)) in known:  # as a sub-folder's name may be what is mended below
        return known[exact]
    path = PurePosixPath(file.strip().replace("\\", "/"))
    named = _normal(path.as_posix())
    if named in known:
        return known[named]
    stem = path.suffix.lower() in PHOTO_SUFFIXES
    return known.get(_normal(path.with_suffix("").as_posix())) if stem else None


def _is_utf8(name: str) -> bool:
    """Other bytes in a file's name are lone surrogates in Python, which no table can hold."""
    return name.encode(errors="ignore").decode() == name


def _normal(name: str) -> str:
    """File systems spell é in two ways."""
    return unicodedata.normalize("NFC", name)


def _doubts(
    seen: Mapping[str, int], classes: Collection[str], *, unnamed: int, path: str | None
) -> Iterator[str]:
    if unnamed:
        yield f"{unnamed} photos in the folder are not named in {path}: they are left out"
    if unlisted := {tag: uses for tag, uses in seen.items() if tag not in classes}:
        told = ", ".join(f"{tag} ({uses})" for tag, uses in sorted(unlisted.items()))
        yield f"tags that are none of the classes are left out: {told}"
    folded = Counter(tag.casefold() for tag in seen)
    if alike := sorted(tag for tag in seen if folded[tag.casefold()] > 1):
        yield f"tags that differ in case alone are different classes: {', '.join(alike)}"
