"""Nodes of the `inference` pipeline."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from affinitynet.core.label_maps import LabelMap
from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks, stream
from affinitynet.pipelines.images import Readers, why_unreadable
from affinitynet.pipelines.segmentation.nodes import segment

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
"""Files that are taken for photos; others in the folder are left alone."""


def inspect_photos(images: Readers, folder: str, masks: str, execution: Execution) -> pd.DataFrame:
    """Open every photo once, and tell the sizes of those that can be read.

    Args:
        images: File name, relative to the folder, to a function that reads the photo.
        folder: The folder.
        masks: The folder that the masks are to be written to.
        execution: Processes.

    Returns:
        One row a photo, by its `id` (the file name without suffix): `file`, `width` and `height`
        as it is seen (after EXIF rotation), and `problem`, empty where there is none.

    Raises:
        UserError: If there is no photo in the folder, or the masks would lie among the photos.
    """
    if Path(masks).resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(
            f"masks={masks} lies in images={folder}: masks would be written over photos, or be "
            "taken for photos the next time. Name a folder of its own: --params masks=<folder>"
        )
    files = [name for name in images if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"No photos in '{folder}'. Name a folder that holds some "
            f'({", ".join(SUFFIXES)}): --params "images=<folder>,masks=<folder>"'
        )
    rows = {}
    for chunk in stream(
        _inspect,
        ((name, images[name]) for name in files),
        total=len(files),
        execution=execution,
        description="Opening photos",
    ):
        rows.update(chunk)
    table = pd.DataFrame.from_dict(rows, "index", columns=["width", "height", "problem"])
    table = table.rename_axis("file").reset_index()
    table["id"] = [PurePosixPath(name).with_suffix("").as_posix() for name in table["file"]]
    sound = table["problem"] == ""
    again = sound & table["id"].where(sound).duplicated()
    table.loc[again, "problem"] = "a photo of this name, but another suffix, has the mask already"
    return table.set_index("id")


def _inspect(read: Callable[[], Any]) -> tuple[int, int, str]:
    from affinitynet.training.photos import to_rgb

    try:
        width, height = to_rgb(read()).size
    except Exception as error:
        return 0, 0, why_unreadable(error)
    return width, height, ""


def segment_photos(
    photos: pd.DataFrame,
    model: dict[str, Any],
    images: Readers,
    inference: dict[str, Any],
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Segment the photos that can be read.

    Args:
        photos: What `inspect_photos` found.
        model: The segmentation network's checkpoint.
        images: File name to a function that reads the photo.
        inference: `scales`, `flip`, `batch_size`, …; what the checkpoint was trained with where
            a value is null.
        execution: Device.

    Yields:
        Photo name without suffix to its mask, at the photo's size, in mask values.
    """
    sound = photos[photos["problem"] == ""]
    readers = {str(image_id): images[file] for image_id, file in sound["file"].items()}
    options = _fill(inference, model["config"].get("inference", {}))
    yield from chunks(segment(sound, model, readers, options, execution))


def report_problems(photos: pd.DataFrame, masks: Mapping[str, Any], folder: str | None) -> None:
    """Say how many masks were written; fail if photos had to be skipped.

    Args:
        photos: What `inspect_photos` found.
        masks: The masks that were written; that they are listed makes this the last node.
        folder: The folder of the photos, for messages.

    Raises:
        UserError: Naming each photo that was skipped, after all others are done.
    """
    skipped = photos[photos["problem"] != ""]
    if len(skipped):
        told = zip(skipped["file"], skipped["problem"], strict=True)
        lines = "".join(f"\n  {file}: {problem}" for file, problem in told)
        raise UserError(
            f"{len(photos) - len(skipped)} of {len(photos)} photos in '{folder}' have their "
            f"masks; {len(skipped)} had to be skipped:{lines}"
        )


def _fill(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return defaults | {name: value for name, value in options.items() if value is not None}
