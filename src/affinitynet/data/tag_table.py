"""Tables of tags as spreadsheets, pandas and annotation tools write them: CSV, JSON, JSON Lines."""

import ast
import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from affinitynet.data.files import PHOTO_SUFFIXES
from affinitynet.data.names import normal_form, read_split
from affinitynet.data.rows import Row, TagFile, count_notes

FILE_COLUMNS = (
    *("file", "filename", "filepath", "path", "image", "imagename", "imagepath", "imagefile"),
    *("fname", "img", "imgname", "imgpath", "photo", "picture", "datei", "dateiname", "bild"),
    *("fichier", "imageid", "id"),
)
"""Columns that name the photo, in small letters without `_` and blanks; the first one counts."""
TAG_COLUMNS = (
    *("labelname", "classname", "categoryname", "tagname"),
    *("tags", "tag", "labels", "label", "classes", "class", "categories", "category"),
    *("labelid", "classid", "categoryid"),
)
"""Columns that hold the tags, the first one counts."""
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
NUMBERING = {"id", "index", "idx", "no", "nr", "number"}
"""Columns that number the lines."""
LABEL_STUDIO = {"annotationid", "annotator", "createdat", "updatedat", "leadtime"}
"""Columns of Label Studio; beside them, every other one has labels."""
OTHER_COLUMNS = {
    *("width", "height", "size", "url", "comment", "comments", "note", "notes", "remark", "date"),
    *("score", "md5", "sha256"),
    *("bbox", "caption", "text", "additionalfeature"),
    *("fold", "difficult", "truncated", "occluded", "iscrowd", "verified", "isvalid"),
    *("isoccluded", "istruncated", "isgroupof", "isdepiction", "isinside"),
}
"""Columns that are not read."""
YES = {"true", "t", "yes", "y", "x", "on", "✓", "✔", "☑", "ja", "wahr", "oui", "vrai", "si", "sí"}
NO = {"false", "f", "no", "n", "off", "", "-", "☐", "nein", "falsch", "non", "faux"}
BLANK = {"nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "N/A", "#N/A"}
"""Cells that pandas and spreadsheets write for no value at all."""
TOTALS = {"total", "totals", "sum", "count", "summe", "gesamt", "anzahl"}
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
UNNAMED = re.compile(r"(Unnamed: \d+([._]\w+)*)?")
"""Names that pandas gives to columns without one."""
LABEL_KEYS = ("choices", "categories", "category", "label", "class")
"""Keys under which an object in a cell has its labels."""
HEADER_LINES = 20
"""Lines among which the names of the columns are looked for."""


@dataclass(frozen=True)
class Table:
    """Cells by column; those of JSON may be lists.

    Attributes:
        columns: Their names, as they are written.
        rows: Place, for messages, and cells; columns that a row lacks are blank.
        notes: Skipped or repaired entries.
    """

    columns: list[str]
    rows: list[tuple[str, dict[str, Any]]]
    notes: list[str] = field(default_factory=list)


def decode_text(data: bytes, path: str) -> tuple[str, list[str]]:
    """Decode UTF-8 or UTF-16, with or without byte order mark, else Windows-1252 (Latin-1).

    Returns:
        The text, and a note if its encoding was guessed.

    Raises:
        ValueError: If it is no text.
    """
    if hint := _no_text(data):
        raise ValueError(f"{path}: {hint}")
    half = data[: len(data) // 2 * 2]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return half.decode("utf-16", errors="replace"), []
    for encoding, zeros in (("utf-16-le", half[1::2]), ("utf-16-be", half[::2])):
        if zeros.count(0) > 0.4 * len(zeros) > 0:
            return half.decode(encoding, errors="replace"), [
                f"{path} is read as {encoding.upper()}"
            ]
    try:
        text = data.decode("utf-8-sig").replace("\ufeff", "")  # of files that were put together
    except UnicodeDecodeError as error:
        if any(byte < 9 for byte in data[:1000]):
            raise ValueError(f"{path}: is no text") from None
        line = data[: error.start].count(b"\n") + 1
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        sample = normal_form(text.splitlines()[line - 1][:60])
        return text, [
            f"{path} is not UTF-8: it is read as Windows-1252 (Latin-1), line {line} as '{sample}'"
        ]
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path}, line {line}: has NUL bytes; save the file as UTF-8")
    return text, []


def _no_text(data: bytes) -> str | None:
    """Say what to do with a file that is known to be something else."""
    csv_wanted = "save the sheet as CSV ('CSV UTF-8')"
    if data.startswith(b"PK\x03\x04"):
        excel = b"xl/" in data or b"opendocument" in data[:200]
        return f"is a spreadsheet; {csv_wanted}" if excel else "is a zip archive; unpack it"
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return f"is an old Excel workbook; {csv_wanted}"
    if data.startswith(b"PAR1"):
        return "is a Parquet file; write it as CSV (pandas: read_parquet(…).to_csv(…, index=False))"
    if data.startswith(b"\x1f\x8b") or data[257:262] == b"ustar":
        return "is an archive; unpack it (a WebDataset too, see docs/data.md)"
    return None


def read_csv(text: str, path: str) -> Table:
    """Read a CSV with commas, semicolons, tabs or bars between the columns.

    Raises:
        ValueError: If columns are missing or lines do not fit.
    """
    delimiters = ",;\t|"
    if declared := re.match(r"\"?sep=(.)\"?\s*?(\r\n|\r|\n)", text):  # Excel's own first line
        delimiters = declared[1]
        text = "\n" + text[declared.end() :]
    header, delimiter = _find_header(text, delimiters)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[str, list[str]]] = []
    notes = []
    try:
        for cells in reader:
            lines.append((f"{path}, line {reader.line_num}", [_unquote(cell) for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    if header is None:
        first = next((cells for _, cells in lines if any(cells)), [])
        if len(first) != 2 or not _is_photo(first[0]):
            raise _wrong_columns(path, first)
        names = ["file", "tags"]
        notes.append(f"{path}: has no line that names the columns; the first is the file's name")
        start = next(i for i, (_, cells) in enumerate(lines) if any(cells))
    else:
        names, start = _merge_header(lines, header)
        if above := sum(any(cells) for _, cells in lines[:header]):
            notes.append(f"{path}: lines above the columns' names, left out: {above}")
    while names and not names[-1]:
        last = (cells[len(names) - 1] for _, cells in lines[start:] if len(cells) >= len(names))
        if any(map(str.strip, last)):
            break
        names.pop()  # a comma at each line's end
    if again := [name for name, uses in Counter(names).items() if uses > 1 and name]:
        raise ValueError(f"tags={path}: the column {', '.join(again)} is there twice")
    names = [name or f"Unnamed: {number}" for number, name in enumerate(names)]
    rows, more = _fit(lines[start:], names, path, delimiter)
    return Table(names, rows, [*notes, *more])


def _fit(
    lines: list[tuple[str, list[str]]], names: list[str], path: str, delimiter: str
) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Bring each line to the number of columns."""
    rows, empty, short, repeated = [], 0, 0, 0
    sums = lines[-1][1] if lines else []  # as spreadsheets have them at the end
    total = any(_key(cell) in TOTALS for cell in sums) and not any(map(_is_photo, sums))
    lines = lines[: len(lines) - total]
    for place, cells in lines:
        if not any(cell.strip() for cell in cells):
            empty += bool(cells)
            continue
        if [cell.strip() for cell in cells[: len(names)]] == names:
            repeated += 1
            continue
        while len(cells) > len(names) and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) > len(names):
            raise ValueError(
                f"{place}: {len(cells)} cells where there are {len(names)} columns; quote a cell "
                f"that contains '{delimiter}'"
            )
        short += len(cells) < len(names)
        rows.append((place, dict(zip(names, cells, strict=False))))
    counts = {
        "empty lines, left out": empty,
        "lines with fewer cells than columns, the others are taken for empty": short,
        "lines that name the columns again, left out": repeated,
        "lines of totals, left out": int(total),
    }
    return rows, count_notes(path, counts)


def _unquote(cell: str) -> str:
    formula = re.fullmatch(r'\s*="(.*)"\s*', cell)  # Excel's guard against its own conversions
    return formula[1] if formula else cell


def _find_header(text: str, delimiters: str) -> tuple[int | None, str]:
    """Find the line that names the columns, and what separates them."""
    found: dict[str, tuple[int, int]] = {}
    widths = Counter[str]()
    for delimiter in delimiters:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            lines = [cells for _, cells in zip(range(HEADER_LINES), reader, strict=False)]
        except csv.Error:
            continue
        widths[delimiter] = max((len(cells) for cells in lines), default=0)
        named = (i for i, cells in enumerate(lines) if any(_key(c) in FILE_COLUMNS for c in cells))
        header = next(named, None)
        photo = next((i for i, cells in enumerate(lines) if any(map(_is_photo, cells))), None)
        if header is None and photo:  # names that are not known, above the first photo
            header = next((i for i in reversed(range(photo)) if any(lines[i])), None)
            header = None if header is None or len(lines[header]) < 2 else header
        if header is not None and (photo is None or header < photo):
            found[delimiter] = len(lines[header]), header
    if found:
        delimiter = max(found, key=lambda each: found[each][0])
        return found[delimiter][1], delimiter
    return None, max(delimiters, key=lambda each: widths[each])


def _merge_header(lines: list[tuple[str, list[str]]], header: int) -> tuple[list[str], int]:
    """Read names that two lines share, where cells were merged; with the first line below them."""
    names = [normal_form(cell) for cell in lines[header][1]]
    file = next((i for i, name in enumerate(names) if _key(name) in FILE_COLUMNS), None)
    start = header + 1
    if file is None:
        return names, start
    below = lines[start][1] if start < len(lines) else []
    pairs = [*zip_longest(names, map(normal_form, below), fillvalue="")]
    if not pairs[file][1] and any(down and not up for up, down in pairs[: len(names)]):
        return [down or up for up, down in pairs], start + 1
    if header and not any(names[:file] + names[file + 1 :]):
        above = map(normal_form, lines[header - 1][1][: len(names)])
        names = [down or up for up, down in zip_longest(above, names, fillvalue="")]
    return names, start


def read_json_lines(text: str, path: str) -> list[tuple[str, Any]]:
    r"""Read JSON Lines: `{"file": "rex.jpg", "tags": ["dog"]}`, and `"split"` if it is given.

    Each line has its place, for messages.

    Raises:
        ValueError: If a line is no JSON.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error if isinstance(error, ValueError) else type(error).__name__
            raise _no_entry(place, reason) from None
        rows.append((place, entry))
    return rows


def parse_entries(entries: Iterable[tuple[str, Any]], path: str, separator: str) -> TagFile:
    """Read JSON objects, one for each photo.

    Raises:
        ValueError: If one is something else.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    columns: dict[str, None] = {}
    for place, entry in entries:
        if not isinstance(entry, dict) or not any(_key(key) in FILE_COLUMNS for key in entry):
            raise _no_entry(place, "no file is named")
        rows.append((place, entry))
        columns |= dict.fromkeys(entry)
    return interpret(Table(list(columns), rows), path, separator)


def transpose(value: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Turn an object of columns, as pandas writes a table by default, into one for each photo."""
    columns = {
        name: cells if isinstance(cells, dict) else dict(enumerate(cells))
        for name, cells in value.items()
    }
    file = next(name for name in columns if _key(name) in FILE_COLUMNS)
    for key in columns[file]:
        entry = {name: cells[key] for name, cells in columns.items() if key in cells}
        yield f"{path}, entry {key}", entry


def is_transposed(value: Any) -> bool:
    """Whether a JSON value is an object of columns."""
    return (
        isinstance(value, dict)
        and all(isinstance(cells, dict | list) for cells in value.values())
        and any(_key(name) in FILE_COLUMNS for name in value)
    )


@dataclass(frozen=True)
class Roles:
    """Meaning of the columns of a table.

    Attributes:
        file: Names the photo.
        tags: Columns that hold its tags; none if there is a column for each class.
        split: Names its split; None if there is none.
        flags: Columns that are classes.
        unread: All others.
    """

    file: str
    tags: list[str]
    split: str | None
    flags: list[str]
    unread: list[str]


def interpret(table: Table, path: str, separator: str) -> TagFile:
    """Find out what the columns mean, and read the rows.

    Raises:
        ValueError: If columns are missing or ambiguous, or a cell cannot be read.
    """
    names = {column: normal_form(column) for column in table.columns}
    if again := [name for name, uses in Counter(names.values()).items() if uses > 1]:
        raise ValueError(f"tags={path}: the column {', '.join(again)} is there twice")
    roles = _find_roles(table, path)
    notes = list(table.notes)
    if guessed := [names[column] for column in roles.tags if _key(column) not in TAG_COLUMNS]:
        notes.append(f"{path}: columns that are taken for the tags: {', '.join(guessed)}")
    if roles.unread:
        unread = ", ".join(names[column] for column in roles.unread)
        notes.append(f"{path}: columns that are not read: {unread}")
    rows: list[Row] = []
    above = 0
    sure = next((column for column in roles.unread if _key(column) == "confidence"), None)
    for place, cells in table.rows:
        file = cells.get(roles.file)
        if file is None or file != file or not str(file).strip():  # `nan` may be a photo's name
            file = ""
        file = _plain_number(str(file)) if isinstance(file, str | float) else file
        if not isinstance(file, str | int):
            raise ValueError(f"{place}: file must be a text and tags a list of texts")
        if not file and rows and roles.tags:  # merged cells
            file, above = rows[-1].file, above + 1
        if not file:
            raise ValueError(f"{place}: no file is named")
        split = cells.get(roles.split) if roles.split else None
        try:
            tags = (
                [tag for column in roles.tags for tag in parse_tags(cells.get(column), separator)]
                if roles.tags
                else [names[column] for column in roles.flags if _flag(cells.get(column))]
            )
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if sure and not _blank(cells.get(sure)) and _flag(cells[sure]) is False:
            tags = []  # Open Images: seen by a person not to be there
        rows.append(Row(place, str(file), tags, "" if _blank(split) else str(split)))
    if roles.tags and all(isinstance(each, str) for _, r in table.rows for each in r.values()):
        rows, blanks = _split_at_blanks(rows, path)
        notes += blanks
    merged = {"lines without a file's name, read as of the photo above": above}
    classes = None if roles.tags else [names[column] for column in roles.flags]
    return TagFile(rows, classes, [*notes, *count_notes(path, merged)])


def _split_at_blanks(rows: list[Row], path: str) -> tuple[list[Row], list[str]]:
    """Split tags such as `cat dog` where each word of them all is a tag of its own."""
    names = {normal_form(tag) for row in rows for tag in row.tags}
    words = {word for name in names for word in name.split()}
    joined = sorted(name for name in names if " " in name)
    if not joined or len(words) >= len(names):
        return rows, []
    if words <= names:
        rows = [
            replace(row, tags=[word for tag in row.tags for word in tag.split()]) for row in rows
        ]
        return rows, [f"{path}: blanks are taken for separators between tags, as in '{joined[0]}'"]
    return rows, [
        f"{path}: '{joined[0]}' is taken for the name of one class; if blanks separate the tags, "
        "write semicolons instead"
    ]


def _find_roles(table: Table, path: str) -> Roles:
    """Tell the columns by their names, and where those do not, by their cells."""
    wrong = _wrong_columns(path, table.columns)
    cells = {column: [row.get(column) for _, row in table.rows] for column in table.columns}
    if "regionattributes" in map(_key, table.columns):
        raise ValueError(f"tags={path}: is a CSV of VIA; export 'annotations as JSON' there")
    file = _first(table.columns, FILE_COLUMNS)
    if file is None:  # in another language: the column of photos' names
        named = (c for c in table.columns if cells[c] and all(_is_photo(str(x)) for x in cells[c]))
        file = next(named, None)
    if file is None:
        raise wrong
    rest = [column for column in table.columns if column != file]
    tag, split = _first(rest, TAG_COLUMNS), _first(rest, SPLIT_COLUMNS)
    numbered = (re.fullmatch(r"(\D+)\d+", _key(column)) for column in rest)  # label_1, label_2
    matched = zip(rest, numbered, strict=True)
    tags = [tag] if tag else [c for c, name in matched if name and name[1] in TAG_COLUMNS]
    if split and _key(split) != "split":
        known = (_blank(cell) or read_split(str(cell)) for cell in cells[split])
        split = split if all(known) else None
    rest = [column for column in rest if column not in (*tags, split)]
    unread = [column for column in rest if UNNAMED.fullmatch(column.strip())]
    for column in unread:
        given = [cell for cell in cells[column] if not _blank(cell)]
        if odd := [cell for cell in given if not re.fullmatch(r"\s*\d+(\.0)?\s*", str(cell))]:
            raise ValueError(f"tags={path}: a column without a name has cells, '{odd[0]}'; name it")
    unread += [column for column in rest if _key(column) in NUMBERING | LABEL_STUDIO]
    rest = [column for column in rest if column not in unread]
    flags = [column for column in rest if all(_flag(cell) is not None for cell in cells[column])]
    others = [column for column in rest if column not in flags]
    unread += [c for c in others if _key(c) in OTHER_COLUMNS or _key(c) in FILE_COLUMNS]
    others = [column for column in others if column not in unread]
    marked = [
        column
        for column in flags
        if not all(map(_blank, cells[column]))
        and _key(column) not in (*OTHER_COLUMNS, *TAG_COLUMNS)
    ]
    exported = len(LABEL_STUDIO.intersection(map(_key, table.columns))) > 1
    if exported or (not tags and len(others) == 1 and not marked):
        tags, others = tags + others, []
    if tags:
        values = {str(cell).strip() for column in tags for cell in cells[column]}
        if marked and not others and not values.intersection(map(normal_form, marked)):
            raise ValueError(
                f"tags={path}: the column {normal_form(tags[0])} has tags, and "
                f"{normal_form(marked[0])} has flags; leave one kind out"
            )
        return Roles(file, tags, split, [], [*unread, *others, *flags])
    if not others:
        flags = [column for column in flags if _key(column) not in OTHER_COLUMNS]
    for column in others:
        place, cell = next((p, r[column]) for p, r in table.rows if _flag(r.get(column)) is None)
        raise ValueError(
            f"{place}: '{str(cell)[:40]}' in the column {normal_form(column)} is neither 0 nor 1"
        )
    if not flags:
        raise wrong
    return Roles(file, [], split, flags, unread)


def parse_tags(cell: Any, separator: str) -> list[str]:
    """Read the tags in a cell: names with separators between them, or a list of Python or JSON.

    Raises:
        ValueError: If they are something else.
    """
    if cell is None or cell != cell:
        return []
    if isinstance(cell, dict):
        return _tool_tags(cell)
    if isinstance(cell, list | tuple | set):
        tags: list[str] = []
        for each in cell:
            if isinstance(each, dict):
                tags += _tool_tags(each)
            elif isinstance(each, str) or (isinstance(each, int) and not isinstance(each, bool)):
                tags.append(str(each))
            else:
                raise ValueError("file must be a text and tags a list of texts")
        return tags
    text = _plain_number(str(cell).strip())
    if text in BLANK or not isinstance(cell, str):
        return [] if text in BLANK else [text]
    is_list = len(text) > 1 and text[0] + text[-1] in ("[]", "()", "{}")
    listed = _parse_list(text, separator) if is_list else None
    return re.split(f"[{re.escape(separator)}]", text) if listed is None else listed


def _parse_list(text: str, separator: str) -> list[str] | None:
    """Read a list in a cell: of JSON, Python, NumPy (blanks between them), or without quotes."""
    quoted = [single or double for single, double in QUOTED.findall(text)]
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list | tuple | set | dict):
            return None  # a number in brackets
        joined = parse is ast.literal_eval and len(value) < len(quoted)  # NumPy has no commas
        if isinstance(value, dict) or not (joined and all(isinstance(each, str) for each in value)):
            return parse_tags(sorted(value) if isinstance(value, set) else value, separator)
    if text[0] == "(":
        return None
    if quoted:
        return quoted
    return re.split(f"[{re.escape(separator)}]", text[1:-1])


def _tool_tags(value: Mapping[str, Any]) -> list[str]:
    """Read an object that Label Studio or `datasets` put in a cell."""
    for key, names in value.items():
        if _key(key) in LABEL_KEYS or _key(key).endswith("labels"):
            return parse_tags(names if isinstance(names, list) else [names], "")
    raise ValueError(f"tags are an object with {', '.join(map(str, value)) or 'nothing'} in it")


def _plain_number(text: str) -> str:
    """Write `7.0`, as pandas makes of 7 where another cell is empty, as `7`."""
    return re.sub(r"^(\d+)\.0$", r"\1", text)


def _flag(cell: Any) -> bool | None:
    """Read a flag; None if it is none."""
    if cell is None or isinstance(cell, bool):
        return bool(cell)
    text = str(cell).strip()
    if text in BLANK or text.casefold() in NO:
        return False
    if text.casefold() in YES:
        return True
    try:
        return {1.0: True, 0.0: False, -1.0: False}.get(float(text.replace(",", ".")))
    except ValueError:
        return None


def _blank(cell: Any) -> bool:
    return cell is None or cell != cell or str(cell).strip() in BLANK | {""}


def _is_photo(cell: str) -> bool:
    return cell.strip().lower().endswith(PHOTO_SUFFIXES)


def _key(name: Any) -> str:
    return re.sub(r"[\W_]+", "", normal_form(str(name)).casefold())


def _first(columns: Iterable[str], wanted: tuple[str, ...]) -> str | None:
    ranked = [name for name in columns if _key(name) in wanted]
    return min(ranked, key=lambda name: wanted.index(_key(name)), default=None)


def _wrong_columns(path: str, columns: list[str]) -> ValueError:
    return ValueError(
        f"tags={path}: its columns are {', '.join(columns) or '(an empty line)'}; they must be "
        "file, tags (and split), or file and one for each class (and split)"
    )


def _no_entry(place: str, reason: Any) -> ValueError:
    return ValueError(f'{place}: is no {{"file": "…", "tags": ["…", …]}} ({reason})')
