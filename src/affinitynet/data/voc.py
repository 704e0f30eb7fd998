"""PASCAL VOC's layout: annotations and split lists."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from affinitynet.data.files import Readers, why_unreadable
from affinitynet.data.names import clean_tags, list_names
from affinitynet.data.tagged import Tagged, choose_classes


@dataclass(frozen=True)
class Annotation:
    """What `Annotations/<id>.xml` says of an image.

    Attributes:
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
        tags: Names of the objects in it, each once, in order of appearance.
    """

    width: int
    height: int
    tags: tuple[str, ...]


def parse_annotation(xml: str) -> Annotation:
    """Read an annotation; objects' names are tags, boxes and parts are not looked at.

    Raises:
        ValueError: If it is no VOC annotation.
    """
    try:
        root = ElementTree.fromstring(xml)
        size = {side: int(root.findtext(f"size/{side}", "")) for side in ("width", "height")}
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"is no VOC annotation with <size><width> and <height>: {error}") from None
    names = clean_tags(element.text or "" for element in root.findall("object/name"))
    return Annotation(**size, tags=tuple(names))


def format_annotation(filename: str, width: int, height: int, tags: Iterable[str]) -> str:
    """Write an annotation: one `object` element a tag, and no bounding boxes.

    Args:
        filename: Of the photo.
        width: Of the photo, in pixels.
        height: Of the photo, in pixels.
        tags: Names of the classes in it.
    """
    annotation = ElementTree.Element("annotation")
    ElementTree.SubElement(annotation, "filename").text = filename
    size = ElementTree.SubElement(annotation, "size")
    for name, length in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(length)
    ElementTree.SubElement(annotation, "segmented").text = "1"
    for tag in tags:
        ElementTree.SubElement(ElementTree.SubElement(annotation, "object"), "name").text = tag
    ElementTree.indent(annotation)
    return ElementTree.tostring(annotation, encoding="unicode") + "\n"


def parse_split(text: str) -> list[str]:
    """Read a list of image ids, the first word of each line (VOC's per-class lists have more)."""
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def read_voc(
    photos: Collection[str], data_set: dict[str, Any], annotations: Readers, splits: Readers
) -> Tagged:
    """Read the split lists and annotations, and say what is wrong with them.

    Args:
        photos: Ids of the photos there are.
        data_set: `classes`, `mask_classes` and `splits`, file names (without .txt) of the lists
            that are train and val.
        annotations: Image id to a function that reads the annotation.
        splits: List name to a function that reads it.
    """
    listed, mask_names = (list_names(data_set[key], ",;|") for key in ("classes", "mask_classes"))
    classes, mask_names, problems, warnings = choose_classes([], listed, mask_names)
    for folder, files in (("JPEGImages", photos), ("Annotations", annotations)):
        if not files:
            problems.append(f"{folder}: missing or empty")
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for split, file in data_set["splits"].items():
        source = f"ImageSets/Segmentation/{file}.txt"
        ids = parse_split(splits[file]()) if file in splits else []
        if not ids:
            state = "empty" if file in splits else "missing"
            others = f"; there are {', '.join(sorted(splits))}" if splits else ""
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
                rows[image_id] = {
                    "tags": list(annotation.tags) if annotation else [],
                    "split": split,
                    "width": annotation.width if annotation else 0,
                    "height": annotation.height if annotation else 0,
                }
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["tags", "split", "width", "height"]
    )
    return Tagged(table.rename_axis("id"), classes, mask_names, problems, warnings)


def _read_annotation(
    file: str, read: Callable[[], str], mask_classes: Collection[str]
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
