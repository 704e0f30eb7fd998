"""PASCAL VOC's layout: annotations and split lists."""

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from affinitynet.data.files import Partitions, why_unreadable
from affinitynet.data.names import clean_tags, compose, list_names
from affinitynet.data.parameters import DataSet
from affinitynet.data.tag_table import decode_text
from affinitynet.data.tagged import Tagged, choose_classes

DECLARATION = re.compile(r"\s*<\?xml\b([^>]*)\?>")
ENCODING = re.compile(r"""encoding\s*=\s*["']([\w.:-]+)["']""")
FLAGS = {"-1", "0", "1"}
"""Second column of VOC's lists of a class: absent, difficult, present."""
NO_LISTS = (
    "; without lists, --env tagged reads the folder: "
    "--params images=<folder>/JPEGImages,tags=<folder>/Annotations"
)
PAIR = re.compile(r"(.+?\.\w{3,4})\s", re.ASCII)
"""Path of a photo, before that of its mask."""


class Annotation(NamedTuple):
    """Content of `Annotations/<id>.xml`.

    Attributes:
        width: Of the photo, in pixels; 0 if it does not say.
        height: In the same unit.
        tags: Names of the objects in it, each once, in order of appearance.
    """

    width: int
    height: int
    tags: tuple[str, ...]


def parse_annotation(xml: bytes) -> Annotation:
    """Read an annotation; objects' names are tags, boxes and parts are not looked at.

    Elements may be in a namespace.

    Raises:
        ValueError: If it is no VOC annotation.
    """
    try:
        root = ElementTree.fromstring(decode_xml(xml))
    except ElementTree.ParseError as error:
        raise ValueError(f"is no VOC annotation: {error}") from None
    width, height = (
        _read_length(root.findtext(f"{{*}}size/{{*}}{side}")) for side in ("width", "height")
    )
    names = clean_tags(element.text or "" for element in root.findall("{*}object/{*}name"))
    if not names and root.find("{*}object") is None and root.find("{*}size") is None:
        raise ValueError("is no VOC annotation: it has neither <size> nor <object>")
    if odd := [name for name in names if "\ufffd" in name]:
        raise ValueError(f"the tag '{odd[0]}' is not in the encoding that the file declares")
    return Annotation(width, height, tuple(names))


def decode_xml(xml: bytes) -> str:
    """Decode XML by its byte order mark, else as it declares, else as UTF-8.

    Bytes that are wrong become U+FFFD: tools write paths in any encoding beside ASCII tags.
    """
    wide = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(xml[:2], "utf-16")
    if wide != "utf-16" or xml.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = xml.decode(wide, "replace")
    else:
        declaration = DECLARATION.match(xml[:200].removeprefix(codecs.BOM_UTF8).decode("latin-1"))
        named = ENCODING.search(declaration[1]) if declaration else None
        encoding = named[1] if named else "utf-8"
        if xml.startswith(codecs.BOM_UTF8) or encoding.lower().startswith(("utf-16", "ucs")):
            encoding = "utf-8-sig"  # the declaration was read byte by byte
        try:
            text = xml.decode(encoding, "replace")
        except LookupError:  # there is no such encoding
            text = xml.decode("utf-8", "replace")
    return DECLARATION.sub("", text, count=1).lstrip("\ufeff \r\n\t")


def _read_length(text: str | None) -> int:
    """Read pixels, as in `96` or `96.0`; 0 of all else."""
    try:
        return max(0, round(float(text or 0)))
    except (ValueError, OverflowError):
        return 0


def format_annotation(
    filename: str, width: int, height: int, tags: Iterable[str], source: str = ""
) -> str:
    """Write an annotation: one `object` element a tag, and no bounding boxes.

    `source` is the origin of the labels, VOC's `source/annotation`; sizes are in pixels.
    """
    annotation = ElementTree.Element("annotation")
    ElementTree.SubElement(annotation, "filename").text = filename
    if source:
        made = ElementTree.SubElement(annotation, "source")
        ElementTree.SubElement(made, "annotation").text = source
    size = ElementTree.SubElement(annotation, "size")
    for name, length in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(length)
    ElementTree.SubElement(annotation, "segmented").text = "1"
    for tag in tags:
        ElementTree.SubElement(ElementTree.SubElement(annotation, "object"), "name").text = tag
    ElementTree.indent(annotation)
    return ElementTree.tostring(annotation, encoding="unicode") + "\n"


def parse_split(source: bytes, path: str, photos: Collection[str] = ()) -> list[str]:
    """Read a list of image ids, one a line, in UTF-8 or UTF-16.

    A line may be an id, also one with blanks; an id and a flag, as in VOC's lists of a class; or
    the paths of photo and mask, as other tools write them. The photos that there are tell which.
    """
    known = {compose(image_id): image_id for image_id in photos}
    lines = (line.strip() for line in decode_text(source, path)[0].splitlines())
    return [_read_id(line, known) for line in lines if line]


def _read_id(line: str, known: Mapping[str, str]) -> str:
    """Return the id that a line means: of a photo that there is, or else the likeliest."""
    last = line.split()[-1]
    bare = line.removesuffix(last).strip() if last in FLAGS and last != line else line
    pair = PAIR.match(line)
    for name in (line, bare, *([pair[1]] if pair else [])):
        path = PurePosixPath(name.replace("\\", "/"))
        for each in (name, path.name, path.stem, (path.parent / path.stem).as_posix()):
            if (image_id := known.get(compose(each))) is not None:
                return image_id
    return bare


def read_voc(
    photos: Collection[str],
    data_set: DataSet,
    annotations: Partitions[bytes],
    splits: Partitions[bytes],
) -> Tagged:
    """Read the split lists and annotations, and list what is wrong with them.

    Args:
        data_set: Its `splits` are the file names (without .txt) of the lists.
        annotations: By image id.
        splits: By list name.
    """
    import pandas as pd

    listed, mask_names = (
        list_names(names, ",;|") for names in (data_set.classes, data_set.mask_classes)
    )
    classes, mask_names, problems, warnings = choose_classes([], listed, mask_names)
    for folder, files in (("JPEGImages", photos), ("Annotations", annotations)):
        if not files:
            problems.append(f"{folder}: missing or empty")
    rows: dict[str, tuple[list[str], str, int, int]] = {}
    seen: dict[str, str] = {}
    for split, file in (data_set.splits or {}).items():
        source = f"ImageSets/Segmentation/{file}.txt"
        try:
            ids = parse_split(splits[file](), source, photos) if file in splits else []
        except ValueError as error:
            problems.append(str(error))
            continue
        if not ids:
            state = "empty" if file in splits else "missing"
            others = f"; there are {', '.join(sorted(splits))}" if splits else NO_LISTS
            problems.append(f"{source}: {state} (parameter data_set.splits.{split}){others}")
        for image_id in ids:
            if image_id in seen:
                again = "twice" if seen[image_id] == source else f"and {seen[image_id]} too"
                problems.append(f"{source}: names {image_id} {again}")
                continue
            seen[image_id] = source
            if photos and image_id not in photos:
                problems.append(f"JPEGImages/{image_id}.jpg: missing, but named in {source}")
            annotation = None
            if image_id in annotations:
                annotation, wrong = _read_annotation(
                    f"Annotations/{image_id}.xml", annotations[image_id], mask_names
                )
                problems += wrong
            elif annotations:
                problems.append(f"Annotations/{image_id}.xml: missing, but named in {source}")
            if image_id in photos:
                width, height, tags = annotation or Annotation(0, 0, ())
                rows[image_id] = ([*tags], split, width, height)
    named = {tag for tags, *_ in rows.values() for tag in tags}
    if named and not problems:
        problems += [
            f"parameter data_set.classes: no photo of the lists has the tag '{name}'"
            for name in classes
            if name not in named
        ]
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["tags", "split", "width", "height"]
    )
    return Tagged(table.rename_axis("id"), classes, mask_names, problems, warnings)


def _read_annotation(
    file: str, read: Callable[[], bytes], mask_classes: Collection[str]
) -> tuple[Annotation | None, list[str]]:
    try:
        annotation = parse_annotation(read())
    except Exception as error:
        return None, [f"{file}: {why_unreadable(error)}"]
    problems = [
        f"{file}: the tag '{tag}' is no class (parameter data_set.mask_classes)"
        for tag in annotation.tags
        if tag not in mask_classes
    ]
    if not annotation.tags:
        problems.append(f"{file}: has no tags (no <object><name>)")
    return annotation, problems
