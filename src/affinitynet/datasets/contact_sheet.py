"""Contact sheets: the picture that Kedro-Viz shows of per-image data."""

import base64
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image, ImageOps

from affinitynet.core.class_maps import ClassMaps
from affinitynet.datasets.label_map import indexed_image

COLUMNS, ROWS, SIDE, GAP = 4, 3, 104, 4
"""Pictures a row, rows, pixels of a picture's square, pixels between two of them."""


def contact_sheet(items: Mapping[str, Callable[[], Any]]) -> ImagePreview:
    """Put items from all over the data set on one picture; it is empty if they are no pictures."""
    chosen = [*items][:: max(1, len(items) // (COLUMNS * ROWS))][: COLUMNS * ROWS]
    cell = SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * cell - GAP, -(-len(chosen) // COLUMNS) * cell), "white")
    for number, name in enumerate(chosen):
        try:
            item = items[name]()
        except Exception:  # the checks of the input report it
            continue
        if not (picture := _picture(item)):
            return ImagePreview("")
        row, column = divmod(number, COLUMNS)
        square = ImageOps.pad(picture.convert("RGB"), (SIDE, SIDE), color="white")
        sheet.paste(square, (column * cell, row * cell))
    if not chosen:
        return ImagePreview("")
    file = BytesIO()
    sheet.save(file, "PNG")
    return ImagePreview(base64.b64encode(file.getvalue()).decode())


def _picture(item: Any) -> Image.Image | None:
    """Paint a photo, a label map, or the highest of an image's object maps; None of all else."""
    match item:
        case Image.Image():
            from affinitynet.core.images import to_rgb

            return to_rgb(item)
        case np.ndarray(dtype=np.uint8, ndim=2):
            return indexed_image(item)
        case ClassMaps(labels=labels, maps=maps):
            heat = maps[labels > 0].max(axis=0, initial=0).clip(0, 1)
            return Image.fromarray((255 * heat).astype(np.uint8))
    return None
