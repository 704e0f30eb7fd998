"""The data report as an HTML page: warnings, with the photos that they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from affinitynet.core.images import to_pixels
from affinitynet.data.files import Partitions
from affinitynet.data.tagged import TAG_SEPARATOR
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.pages import fill_template
from affinitynet.pipelines.per_image import map_items
from affinitynet.pipelines.reporting.pictures import data_uri

LONG_SIDE = 192
"""Pixels of the longer side of a photo on the page."""
MAX_GROUPS, MAX_PHOTOS = 60, 12
"""Groups of near-duplicates on the page, and photos of a group, a class or a warning."""

SHOWN = ("photos", "left_out", "near_duplicates", "warnings")
"""Parts of the report that have a place of their own on the page."""


def show_data(
    report: dict[str, Any],
    inspected: pd.DataFrame,
    class_counts: pd.DataFrame,
    photos: Partitions[Any],
    run: RunDescription,
    execution: Execution,
) -> dict[str, str]:
    """Make the page.

    Returns:
        The page under its name, `index`.
    """
    sound = inspected[inspected["problem"] == ""]
    rows = sound[["split", "tags"]].replace({"tags": {f"\\{TAG_SEPARATOR}": ", "}}, regex=True)
    groups = _groups(sound)[:MAX_GROUPS]
    elsewhere = {image_id for group in groups for image_id in group.shown}
    warnings = [
        (line, [name for name in _named(line, sound.index) if name not in elsewhere])
        for line in report["warnings"]
    ]
    classes = [*_classes(class_counts, sound)]
    wanted = [
        *(image_id for _, ids in warnings for image_id in ids),
        *(image_id for group in groups for image_id in group.shown),
        *(image_id for row in classes for image_id in row.examples),
    ]
    items = [(image_id, photos[image_id]) for image_id in dict.fromkeys(wanted)]
    pictures = dict(map_items(_thumbnail, items, execution, "Drawing the data report", skip=True))
    return {
        "index": fill_template(
            "data.html",
            run=run,
            counts=report["photos"],
            warnings=warnings,
            groups=groups,
            num_groups=report["near_duplicates"]["groups"],
            left_out=report["left_out"]["why"],
            classes=classes,
            largest=max([row.train + row.val for row in classes], default=0),
            others={name: part for name, part in report.items() if name not in SHOWN},
            rows=rows.to_dict("index"),
            pictures=pictures,
        )
    }


@dataclass(frozen=True)
class Group:
    """Near-duplicates.

    Attributes:
        ids: The photos.
        doubtful: Whether their tags differ.
        across: Whether they lie in train and val.
    """

    ids: list[str]
    doubtful: bool
    across: bool

    @property
    def shown(self) -> list[str]:
        """The photos on the page."""
        return self.ids[:MAX_PHOTOS]


@dataclass(frozen=True)
class ClassPhotos:
    """Photos of a class: how many there are in each split, and some of them."""

    name: str
    train: int
    val: int
    examples: list[str]


def _groups(sound: pd.DataFrame) -> list[Group]:
    """Describe the groups of near-duplicates, those with different tags first."""
    alike = sound[sound["group"].duplicated(keep=False)]
    found = [
        Group(
            [*map(str, rows.index)],
            doubtful=len(set(rows["tags"])) > 1,
            across=len(set(rows["split"])) > 1,
        )
        for _, rows in alike.groupby("group")
    ]
    return sorted(found, key=lambda group: (not group.doubtful, not group.across))


def _named(line: str, ids: pd.Index) -> list[str]:
    """Find the photos that a warning names."""
    words = dict.fromkeys(re.split(r"[\s,;=()]+", line))
    stripped = [word.rstrip(".:") for word in words]
    return [word for word in stripped if word in ids][:MAX_PHOTOS]


def _classes(counts: pd.DataFrame, sound: pd.DataFrame) -> Iterator[ClassPhotos]:
    tags = sound["tags"].str.split(TAG_SEPARATOR, regex=False)
    for name, train, val in counts[["class", "train", "val"]].itertuples(index=False):
        shows = [name in some or (some == [""] and name == "(no tag)") for some in tags]
        examples = [*map(str, sound.index[shows][: MAX_PHOTOS // 2])]
        yield ClassPhotos(name, int(train), int(val), examples)


def _thumbnail(read: Callable[[], Any]) -> str:
    """Encode a small photo; one that cannot be read any more becomes an empty text."""
    with suppress(Exception):  # Pillow's decoders raise what they like
        return data_uri(Image.fromarray(to_pixels(read(), LONG_SIDE)))
    return ""
