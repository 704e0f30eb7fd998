"""A photo with its mask over it: colours, outlines, and the name of each class."""

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image, ImageDraw, ImageFont

from affinitynet.core.label_maps import Classes, LabelMap, voc_palette

GRID = 256
"""Cells of the longer side on which places for names are looked for."""
BRIGHT = 140
"""Brightness in 0 … 255 from which black text is the better read one."""


def paint_overlay(photo: Image.Image, mask: LabelMap, classes: Classes) -> Image.Image:
    """Lay a mask over its photo, half through; background stays as it is.

    Args:
        photo: Upright, RGB.
        mask: (H, W) mask values, at the photo's size.

    Returns:
        RGB. Each class has VOC's colour, a white outline, and its name on its largest part.
    """
    palette = voc_palette()
    shown = mask > 0
    painted = np.array(photo)
    painted[shown] = (painted[shown].astype(np.uint16) + palette[mask[shown]]) // 2
    painted[_outline(mask)] = 255
    overlay = Image.fromarray(painted)
    draw = ImageDraw.Draw(overlay)
    font = ImageFont.load_default(max(10, max(mask.shape) // 40))
    for name, value in classes.items():
        if value and (place := _find_place(mask == value)):
            colour = tuple(palette[value].tolist())
            text = "black" if np.dot(colour, (0.299, 0.587, 0.114)) > BRIGHT else "white"
            box = draw.textbbox(place, name, font, anchor="mm")
            right, below = (max(0, box[2 + i] - overlay.size[i] + 3) for i in (0, 1))
            left, above = max(0, 3 - box[0]), max(0, 3 - box[1])
            place = (place[0] + left - right, place[1] + above - below)
            x0, y0, x1, y1 = draw.textbbox(place, name, font, anchor="mm")
            draw.rectangle((x0 - 2, y0 - 2, x1 + 2, y1 + 2), fill=colour)
            draw.text(place, name, text, font, anchor="mm")
    return overlay


def _outline(mask: LabelMap) -> npt.NDArray[np.bool_]:
    """Mark the pixels of classes that border on others; wider in large photos."""
    shown = np.zeros(mask.shape, bool)
    width = max(1, max(mask.shape) // 400)
    for axis in (0, 1):
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        differs = mask[tuple(first)] != mask[tuple(second)]
        shown[tuple(first)] |= differs
        shown[tuple(second)] |= differs
    if width > 1:
        shown = scipy.ndimage.binary_dilation(shown, iterations=width - 1)
    return shown & (mask > 0)


def _find_place(shown: npt.NDArray[np.bool_]) -> tuple[float, float] | None:
    """Find the innermost point (x, y) of the largest connected part; None if there is none."""
    step = max(1, max(shown.shape) // GRID)
    grid = shown[::step, ::step]
    parts, count = scipy.ndimage.label(grid)
    if not count:
        return None
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    depth = scipy.ndimage.distance_transform_edt(np.pad(parts == largest, 1))
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float((x - 1) * step), float((y - 1) * step)
