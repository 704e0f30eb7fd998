"""PASCAL VOC's layout: annotations, split lists, and what can be wrong with them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.pipelines.images import why_unreadable


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
    names = [(element.text or "").strip() for element in root.findall("object/name")]
    return Annotation(**size, tags=tuple(dict.fromkeys(names)))


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


def list_problems(
    *,
    photos: Collection[str],
    annotations: Mapping[str, Callable[[], str]],
    splits: Mapping[str, Callable[[], str]],
    masks: Collection[str],
    split_names: Mapping[str, str],
    classes: Iterable[str],
    mask_classes: Collection[str],
) -> Iterator[str]:
    """Say what is wrong with the lists and annotations, without opening a photo or a mask.

    Args:
        photos: Ids of the photos there are.
        annotations: Id to a function that reads the annotation.
        splits: File name (without .txt) to a function that reads the list.
        masks: Ids of the masks there are.
        split_names: The lists to use: `train` and `val` to file names.
        classes: The classes to learn.
        mask_classes: Names of the mask values 1, 2, ….

    Yields:
        One line a problem, each naming the file or the parameter.
    """
    for name in classes:
        if name not in mask_classes:
            yield f"parameter classes: '{name}' is none of mask_classes"
    for folder, files in (
        ("JPEGImages", photos),
        ("Annotations", annotations),
        ("the masks' folder", masks),
    ):
        if not files:
            yield f"{folder}: missing or empty"
    seen: dict[str, str] = {}
    for split, file in split_names.items():
        source = f"ImageSets/Segmentation/{file}.txt"
        ids = parse_split(splits[file]()) if file in splits else []
        if not ids:
            yield f"{source}: {'empty' if file in splits else 'missing'} (parameter splits.{split})"
        for image_id in ids:
            if image_id in seen:
                again = "twice" if seen[image_id] == source else f"and {seen[image_id]} too"
                yield f"{source}: names {image_id} {again}"
            seen[image_id] = source
            if photos and image_id not in photos:
                yield f"JPEGImages/{image_id}.jpg: missing, but named in {source}"
            if masks and split == "val" and image_id not in masks:
                yield f"{image_id}.png: the mask is missing, but {source} names it for evaluation"
            if annotations and image_id not in annotations:
                yield f"Annotations/{image_id}.xml: missing, but named in {source}"
            elif annotations:
                yield from _annotation_problems(image_id, annotations[image_id], mask_classes)


def _annotation_problems(
    image_id: str, read: Callable[[], str], mask_classes: Collection[str]
) -> Iterator[str]:
    file = f"Annotations/{image_id}.xml"
    try:
        tags = parse_annotation(read()).tags
    except Exception as error:
        yield f"{file}: {why_unreadable(error)}"
        return
    if not tags:
        yield f"{file}: has no tags (no <object><name>)"
    for tag in tags:
        if tag not in mask_classes:
            yield f"{file}: the tag '{tag}' is no class (parameter mask_classes)"


def list_image_problems(
    image_id: str,
    read_photo: Callable[[], Any],
    annotated_size: tuple[int, int] | None,
    read_mask: Callable[[], Any] | None,
    num_values: int,
) -> list[str]:
    """Say what is wrong with a photo, upright, its annotated size and its mask, all read in full.

    Args:
        image_id: Id of the image.
        read_photo: Reads the photo, a PIL image.
        annotated_size: Width and height that its annotation says; None if it cannot be read.
        read_mask: Reads the mask, (H, W) uint8; None if there is none.
        num_values: Number of classes that mask values may stand for.
    """
    from affinitynet.training.photos import to_rgb

    try:
        width, height = to_rgb(read_photo()).size
    except Exception as error:
        return [f"JPEGImages/{image_id}: cannot be read ({why_unreadable(error)})"]
    problems = []
    if annotated_size and annotated_size != (width, height):
        problems.append(
            f"Annotations/{image_id}.xml: says {annotated_size[0]} x {annotated_size[1]}, "
            f"the photo is {width} x {height} pixels"
        )
    if read_mask is None:
        return problems
    try:
        mask = read_mask()
    except Exception as error:
        return [*problems, f"{image_id}.png: the mask cannot be read ({why_unreadable(error)})"]
    if mask.shape != (height, width):
        shape = f"{mask.shape[1]} x {mask.shape[0]}"
        problems.append(f"{image_id}.png: the mask is {shape}, the photo {width} x {height} pixels")
    values = np.unique(mask)
    wrong = values[(values > num_values) & (values != IGNORE_INDEX)]
    if wrong.size:
        problems.append(
            f"{image_id}.png: mask values {wrong.tolist()} are no class "
            f"(0 … {num_values} and {IGNORE_INDEX} are)"
        )
    return problems


def annotated_size(read: Callable[[], str] | None) -> tuple[int, int] | None:
    """Return the width and height that an annotation says, None where it says nothing sound."""
    if read is None:
        return None
    try:
        annotation = parse_annotation(read())
    except Exception:
        return None
    return annotation.width, annotation.height
