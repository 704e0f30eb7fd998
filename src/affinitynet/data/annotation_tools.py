"""Exports of annotation tools: CVAT, LabelMe, Label Studio, YOLO, VOC's XML.

Boxes are read for their tags only; polygons, ellipses and brushes can be drawn into masks.
"""

import base64
import io
import math
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from affinitynet.data.names import is_background, normal_form, read_split
from affinitynet.data.rows import Mark, Row, TagFile, count_notes, make_row
from affinitynet.data.shapes import (
    Encode,
    Runs,
    ellipse,
    encode_bitmap,
    encode_polygons,
    outline,
)
from affinitynet.data.tag_table import decode_text
from affinitynet.data.voc import parse_annotation

Files = Mapping[str, Callable[[], bytes]]
"""The files of a folder: path in the folder to a function that reads the file."""
VIA_LABELS = {"label", "class", "name", "category", "type", "object"}
"""Names of VIA's attributes that are the label of a region."""
NO_SHAPES = "boxes, lines and points, read for their tags only"
NAMES_FILES = ("classes.txt", "obj.names", "names.txt")
"""Files that list YOLO's classes, one a line."""


def parse_voc_folder(files: Files, path: str) -> TagFile:
    """Read a folder of VOC's annotations, one for each photo."""
    rows = []
    skipped: Counter[str] = Counter()
    for file, read in with_suffix(files, ".xml"):
        try:
            width, height, tags = parse_annotation(read())
        except ValueError:
            skipped["XML files that are no VOC annotations, left out"] += 1
            continue
        photo = PurePosixPath(file).with_suffix("").as_posix()
        rows.append(Row(f"{path}/{file}", photo, [*tags], width=width, height=height))
    return TagFile(rows, None, count_notes(path, skipped), partial=True)


def with_suffix(files: Files, suffix: str) -> list[tuple[str, Callable[[], bytes]]]:
    """List the files of a folder that have a suffix, in their order."""
    return [(file, files[file]) for file in sorted(files) if file.lower().endswith(suffix)]


def parse_cvat(text: str, path: str) -> TagFile:
    """Read "CVAT for images 1.1": image tags, and the labels of all shapes.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"tags={path}: is XML that cannot be read: {error}") from None
    if root.find("track") is not None:
        raise ValueError(f"tags={path}: is 'CVAT for video'; export 'CVAT for images 1.1'")
    images = root.findall("image")
    if root.tag != "annotations" or not images:
        raise ValueError(f"tags={path}: is XML, but not of 'CVAT for images 1.1'")
    labels = [normal_form(each.text or "") for each in root.findall("meta//labels/label/name")]
    skipped: Counter[str] = Counter()
    rows = []
    for image in images:
        width, height = map(round, _numbers(image, "width", "height"))
        labelled = [each for each in image if each.get("label")]
        marks = [(each.get("label", ""), _cvat_shape(each)) for each in labelled]
        boxes = sum(each.tag not in ("tag", "polygon", "mask", "ellipse") for each in labelled)
        skipped[NO_SHAPES] += boxes
        place, split = f"{path}, image {image.get('id')}", image.get("subset", "")
        split = split if read_split(split) else ""
        rows.append(make_row(place, image.get("name", ""), marks, split, width, height))
    names = [name for name in dict.fromkeys(labels) if name and not is_background(name)]
    return TagFile(rows, names or None, count_notes(path, skipped), partial=True)


def _cvat_shape(mark: ElementTree.Element) -> Encode | None:
    if mark.tag == "polygon":
        numbers = re.split("[,;]", mark.get("points", ""))
        return outline([_number(each, math.nan) for each in numbers])
    if mark.tag == "ellipse":
        points = ellipse(*_numbers(mark, "cx", "cy", "rx", "ry", "rotation"))
        return partial(encode_polygons, [points])
    if mark.tag == "mask":
        runs = [int(_number(number, -1)) for number in mark.get("rle", "").split(",")]
        box = [*map(int, _numbers(mark, "left", "top", "width", "height"))]
        if min(runs) >= 0 and sum(runs) >= box[2] * box[3]:
            return partial(_encode_cvat_mask, runs, *box)
    return None


def _numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [_number(element.get(name)) for name in names]


def _number(text: str | None, default: float = 0.0) -> float:
    try:
        return float(text or default)
    except ValueError:
        return default


def _encode_cvat_mask(
    runs: list[int], left: int, top: int, width: int, height: int, *size: int
) -> Runs:
    """Run lengths row by row in the mask's box, the first one of pixels outside."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return encode_bitmap(flat[: width * height].reshape(height, width), left, top, *size)


def is_labelme(value: Any) -> bool:
    """Whether a JSON value is one of LabelMe's files."""
    return isinstance(value, dict) and isinstance(value.get("shapes"), list)


def parse_labelme(entries: Iterable[tuple[str, Any]], path: str) -> TagFile:
    """Read LabelMe's files: image flags that are set, and the labels of all shapes.

    `entries` are the name and the JSON value of each; those of other programs are left out.
    """
    skipped: Counter[str] = Counter()
    rows = []
    for file, entry in entries:
        if not is_labelme(entry):
            skipped["JSON files that are not LabelMe's, left out"] += 1
            continue
        flags = [name for name, is_set in (entry.get("flags") or {}).items() if is_set]
        marks: list[Mark] = [
            (str(each["label"]), _labelme_shape(each))
            for each in entry["shapes"]
            if each.get("label") not in (None, "__ignore__")
        ]
        skipped[NO_SHAPES] += sum(encode is None for _, encode in marks)
        image = str(entry.get("imagePath") or PurePosixPath(file).with_suffix(""))
        folder = "" if file == path else PurePosixPath(file).parent.as_posix()
        photo = posixpath.normpath(posixpath.join(folder, image.replace("\\", "/")))
        width, height = (int(entry.get(side) or 0) for side in ("imageWidth", "imageHeight"))
        marks = [*((flag, None) for flag in flags), *marks]
        place = path if file == path else f"{path}/{file}"
        rows.append(make_row(place, photo.removeprefix("../"), marks, "", width, height))
    return TagFile(rows, None, count_notes(path, skipped), partial=True)


def _labelme_shape(mark: Mapping[str, Any]) -> Encode | None:
    kind, points = mark.get("shape_type") or "polygon", mark.get("points") or []
    if kind == "polygon":
        return outline(points)
    if kind == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = math.hypot(edge_x - x, edge_y - y)
        return partial(encode_polygons, [ellipse(x, y, radius, radius)])
    if kind == "mask" and mark.get("mask") and points:
        left, top = map(round, points[0])
        return partial(_encode_png, mark["mask"], left, top)
    return None


def _encode_png(png: str, left: int, top: int, height: int, width: int) -> Runs:
    bitmap = np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) > 0
    return encode_bitmap(bitmap, left, top, height, width)


def is_via(value: Any) -> bool:
    """Whether a JSON value is a project, or annotations, of the VGG Image Annotator."""
    entries = value.get("_via_img_metadata", value) if isinstance(value, dict) else None
    return (
        isinstance(entries, dict)
        and bool(entries)
        and all(isinstance(each, dict) and "regions" in each for each in entries.values())
    )


def parse_via(value: Mapping[str, Any], path: str) -> TagFile:
    """Read VIA's JSON: the attributes of all regions are labels, those of files are not read."""
    skipped: Counter[str] = Counter()
    rows = []
    for key, entry in value.get("_via_img_metadata", value).items():
        regions = entry["regions"]
        marks: list[Mark] = []
        for region in regions.values() if isinstance(regions, dict) else regions:
            labels = _via_labels(region.get("region_attributes") or {})
            encode = _via_shape(region.get("shape_attributes") or {})
            marks += [(label, encode) for label in labels]
            skipped[NO_SHAPES] += encode is None
        rows.append(make_row(f"{path}, {key}", str(entry["filename"]), marks))
    return TagFile(rows, None, count_notes(path, skipped), partial=True)


def _via_labels(attributes: Mapping[str, Any]) -> list[str]:
    """Read the label of a region: the attribute that is named so, else its only one."""
    named = [key for key in attributes if key.casefold() in VIA_LABELS]
    if len(attributes) > 1 and not named:
        raise ValueError(
            f"regions have the attributes {', '.join(attributes)}; call the one that is the class "
            "'label'"
        )
    given = attributes[(named or [*attributes])[0]] if attributes else ""
    if isinstance(given, dict):  # check boxes
        return [str(label) for label, is_set in given.items() if is_set]
    return [str(given)]


def _via_shape(shape: Mapping[str, Any]) -> Encode | None:
    kind = shape.get("name")
    if kind == "polygon":
        return outline([*zip(shape["all_points_x"], shape["all_points_y"], strict=False)])
    if kind in ("circle", "ellipse"):
        radius_x = shape.get("rx", shape.get("r", 0))
        radius_y = shape.get("ry", radius_x)
        turn = math.degrees(shape.get("theta") or 0)
        points = ellipse(shape["cx"], shape["cy"], radius_x, radius_y, turn)
        return partial(encode_polygons, [points])
    return None


def parse_label_studio(tasks: Iterable[Mapping[str, Any]], path: str) -> TagFile:
    """Read Label Studio's JSON: choices, and the labels of all regions, by all annotators.

    Tasks that nobody annotated are left out; one that was submitted empty shows nothing.
    """
    skipped: Counter[str] = Counter()
    rows = []
    for number, task in enumerate(tasks, start=1):
        given = task.get("annotations") or task.get("completions") or []
        kept = [each for each in given if not each.get("was_cancelled")]
        if not kept:
            skipped["tasks without annotations, left out"] += 1
            continue
        skipped["tasks of several annotators, their labels are united"] += len(kept) > 1
        marks: list[Mark] = []
        for result in (each for one in kept for each in one.get("result") or []):
            value = result.get("value") or {}
            names = value.get(result.get("type")) or []
            names = names if isinstance(names, list) else []  # a rating is a number
            encode = _label_studio_region(result, value)
            labels = (name[-1] if isinstance(name, list) else name for name in names)
            marks += [(str(label), encode) for label in labels]
        data = task["data"]
        texts = [value for value in data.values() if isinstance(value, str)]
        file = data.get("image") or task.get("file_upload") or next(iter(texts), "")
        rows.append(make_row(f"{path}, task {task.get('id', number)}", str(file), marks))
    return TagFile(rows, None, count_notes(path, skipped), partial=True)


def _label_studio_region(result: Mapping[str, Any], value: Mapping[str, Any]) -> Encode | None:
    """Sizes are in hundredths of the photo's."""
    if result.get("type") == "polygonlabels":
        return outline(value.get("points"), 100.0)
    if result.get("type") == "ellipselabels":
        names = ("x", "y", "radiusX", "radiusY", "rotation")
        return partial(_encode_scaled_ellipse, [float(value.get(name) or 0) for name in names])
    sizes = [result.get(f"original_{side}") or 0 for side in ("height", "width")]
    if result.get("type") == "brushlabels" and value.get("format") == "rle" and all(sizes):
        height, width = map(int, sizes)
        return partial(_encode_brush, value["rle"], height, width)
    return None


def _encode_scaled_ellipse(numbers: list[float], height: int, width: int) -> Runs:
    x, y, radius_x, radius_y, degrees = numbers
    across, along = width / 100, height / 100
    outline = ellipse(x * across, y * along, radius_x * across, radius_y * along, degrees)
    return encode_polygons([outline], height, width)


def _encode_brush(rle: list[int], rows: int, columns: int, height: int, width: int) -> Runs:
    alpha = decode_brush(rle).reshape(rows, columns, 4)[..., 3]
    return encode_bitmap(alpha > 0, 0, 0, height, width)


def decode_brush(rle: Iterable[int]) -> npt.NDArray[np.uint8]:
    """Decode Label Studio's brushes: a bit stream of runs and of single values.

    Returns:
        Four values for each pixel, red, green, blue and alpha.
    """
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def read(length: int) -> int:
        nonlocal position
        position += length
        return int(bits[position - length : position], 2)

    size, word = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values = np.zeros(size, np.uint8)
    done = 0
    while done < size:
        is_run = read(1)
        end = done + 1 + read(lengths[read(2)])
        values[done:end] = read(word) if is_run else [read(word) for _ in range(end - done)]
        done = end
    return values


def list_fiftyone(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """List the entries of FiftyOne's `labels.json`: a name, a number, or several, for each file."""
    classes = value.get("classes") or []
    for file, given in value["labels"].items():
        labels = given if isinstance(given, list) else [] if given is None else [given]
        tags = [classes[label] if isinstance(label, int) else label for label in labels]
        yield f"{path}, {file}", {"file": file, "tags": tags}


def parse_yolo(files: Files, path: str) -> TagFile:
    """Read YOLO's labels: a text file for each photo, a line for each object.

    Photos without a file show nothing. Names are in a YAML file or in `classes.txt`.

    Raises:
        ValueError: If the names are missing, or a number has none.
    """
    names = _yolo_names(files)
    skipped: Counter[str] = Counter()
    rows = []
    for file, read in with_suffix(files, ".txt"):
        if PurePosixPath(file).name in NAMES_FILES:
            continue
        text, _ = decode_text(read(), file)
        lines = [line.split() for line in text.splitlines() if line.strip()]
        try:
            objects = [(int(float(first)), [*map(float, rest)]) for first, *rest in lines]
        except ValueError:
            skipped["text files that are no labels, left out"] += 1
            continue
        marks: list[Mark] = []
        for index, numbers in objects:
            if index not in names:
                known = ", ".join(f"{key} {name}" for key, name in names.items()) or "there is none"
                raise ValueError(
                    f"{path}/{file}: the class {index} has no name ({known}); names are read from "
                    "names: in a YAML file, or from classes.txt"
                )
            encode = outline(numbers, 1.0) if len(numbers) > 4 else None
            marks.append((names[index], encode))
            if encode is None:
                skipped["boxes, read for their tags only"] += 1
        photo = PurePosixPath(file).with_suffix("")
        parts = ["images" if part == "labels" else part for part in photo.parts]
        split = next((part for part in photo.parts[:-1] if read_split(part)), "")
        rows.append(make_row(f"{path}/{file}", "/".join(parts), marks, split))
    if not rows:
        raise ValueError(f"tags={path}: none of its text files has labels as YOLO writes them")
    classes = [names[key] for key in sorted(names)]
    return TagFile(rows, classes, count_notes(path, skipped), partial=True, complete=True)


def _yolo_names(files: Files) -> dict[int, str]:
    for file, read in sorted(files.items()):
        if file.lower().endswith((".yaml", ".yml")):
            try:
                given = yaml.load(read(), yaml.BaseLoader)  # texts only: yes and no are names
            except yaml.YAMLError as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"{file}: cannot be read as YAML ({reason})") from error
            names = given.get("names") if isinstance(given, dict) else None
            if isinstance(names, list):
                return {index: str(name) for index, name in enumerate(names)}
            if isinstance(names, dict):
                return {int(index): str(name) for index, name in names.items()}
        elif PurePosixPath(file).name in NAMES_FILES:
            lines = decode_text(read(), file)[0].splitlines()
            return {index: name for index, name in enumerate(lines) if name.strip()}
    return {}
