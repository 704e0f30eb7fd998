"""COCO's instances: tags and outlines by image."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.data.names import is_background, normal_form
from affinitynet.data.rows import Mark, TagFile, count_notes, make_row
from affinitynet.data.shapes import Encode, encode_runs, outline, read_compressed

FILES = ("file_name", "path", "coco_url", "file")
"""Keys of an image that name its file, the first one counts."""


def parse_coco(coco: Any, path: str) -> TagFile:
    """Read COCO's instances: an image's tags are the categories of its annotations.

    Whatever exporters leave out or leave over is skipped and counted: annotations of images or
    categories that are not there, outlines of less than three points. Crowds count as all else:
    their pixels are of the class.

    Returns:
        The rows, and the categories in the order of their ids.

    Raises:
        ValueError: If it is no such file.
    """
    if not isinstance(coco, dict):
        raise ValueError(
            f"tags={path}: is neither JSON Lines nor a COCO file with images, annotations and "
            "categories"
        )
    for name in ("categories", "images", "annotations"):
        if not isinstance(coco.get(name), list):
            raise ValueError(
                f"tags={path}: is no COCO file of instances: '{name}' is missing or no list"
            )
    skipped: Counter[str] = Counter()
    categories = _by_id(coco, "categories", ("name",), path, skipped)
    images = _by_id(coco, "images", FILES, path, skipped)
    order = sorted(categories, key=_by_number)
    names = {key: normal_form(str(categories[key]["name"])) for key in order}
    marks: dict[str, list[Mark]] = {key: [] for key in images}
    for each in coco["annotations"]:
        if isinstance(each, dict) and isinstance(each.get("segments_info"), list):
            raise ValueError(f"tags={path}: is COCO's panoptic format; give its file of instances")
        image, category = (
            _id(each.get(key)) if isinstance(each, dict) else ""
            for key in ("image_id", "category_id")
        )
        if image not in images or category not in names:
            what = "images" if image not in images else "categories"
            skipped[f"annotations of {what} that are not there, left out"] += 1
            continue
        encode = _read_shape(each.get("segmentation"), images[image])
        marks[image].append((names[category], encode))
        skipped["crowds, counted as the class that they are of"] += bool(each.get("iscrowd"))
        if encode is None:
            skipped["annotations without a usable outline, read for their tags only"] += 1
    classes = [name for name in dict.fromkeys(names.values()) if name and not is_background(name)]
    if len(classes) >= IGNORE_INDEX:
        used = {label for own in marks.values() for label, _ in own}
        classes = [name for name in classes if name in used]
    rows = []
    for key, entry in images.items():
        width, height = (_length(entry.get(side)) for side in ("width", "height"))
        place, file = f"{path}, image {key}", str(_first(entry, FILES))
        rows.append(make_row(place, file, marks[key], "", width, height))
    return TagFile(rows, classes, count_notes(path, skipped), partial=True)


def _first(entry: Mapping[str, Any], names: tuple[str, ...]) -> str | int | None:
    values = (entry.get(name) for name in names)
    return next((each for each in values if isinstance(each, str | int) and each != ""), None)


def _by_id(
    coco: Mapping[str, Any], what: str, names: tuple[str, ...], path: str, skipped: Counter[str]
) -> dict[str, dict[str, Any]]:
    """Index entries that have a name by their id; a number and its digits are the same id."""
    found: dict[str, dict[str, Any]] = {}
    for each in coco[what]:
        if not isinstance(each, dict) or "id" not in each or _first(each, names) is None:
            skipped[f"{what} without id or {names[0]}, left out"] += 1
            continue
        other = found.setdefault(_id(each["id"]), each)
        if any(each.get(name) != other.get(name) for name in names):
            raise ValueError(f"tags={path}: two {what} have the id {each['id']}")
    return found


def _id(given: Any) -> str:
    """Write an id: 7, "7", and 7.0 as pandas has it are one."""
    return str(int(given) if isinstance(given, float) and given.is_integer() else given)


def _by_number(key: str) -> tuple[bool, int, str]:
    return (False, int(key), key) if key.lstrip("-").isdecimal() else (True, 0, key)


def _length(value: Any) -> int:
    try:
        return max(int(float(value)), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def _read_shape(segmentation: Any, image: Mapping[str, Any]) -> Encode | None:
    if not isinstance(segmentation, dict):
        return outline(segmentation)
    counts, size = segmentation.get("counts"), segmentation.get("size")
    known = [_length(image.get(side)) for side in ("height", "width")]
    if not counts or not isinstance(size, list) or len(size) != 2:
        return None
    height, width = map(_length, size)
    if all(known) and [height, width] != known:
        return None
    runs = read_compressed(counts) if isinstance(counts, str) else counts
    # pycocotools would draw what was in memory where they are too few
    if not isinstance(runs, list) or not all(isinstance(each, int) and each >= 0 for each in runs):
        return None
    if sum(runs) != height * width:
        return None
    return partial(encode_runs, counts, (height, width))
