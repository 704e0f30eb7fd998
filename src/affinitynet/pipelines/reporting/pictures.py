"""Pictures of label maps and score maps, and where on them a class can be named."""

import io
from base64 import b64encode
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap

Floats = npt.NDArray[np.floating]

OUTLINE = (245, 245, 245)
HATCHES = ((205, 205, 205), (150, 150, 150))
"""The two greys that neutral pixels are hatched with."""

HEAT_LEVELS = 64
MIN_ROOM = 0.035
"""A class is named where a circle of this radius, as a share of the longer side, is all its own."""


class Name(NamedTuple):
    """A class's name on a picture, its centre as shares of width and height, off the edges."""

    text: str
    x: float
    y: float


@cache
def display_palette() -> npt.NDArray[np.uint8]:
    """Return a colour for each mask value, for pictures on black: (256, 3).

    VOC's colours, which stored masks have, are partly too dark on black (#400000), or the grey of
    neutral pixels. Of these, each is the farthest one in OKLab (Ottosson, 2020) from all before
    it, from black, white and grey. The contrast to black is at least 3 (WCAG 2.1), and 2 to white.
    """
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    luminance = _linear(colours) @ [0.2126, 0.7152, 0.0722]
    lab = _oklab(colours)
    fits = (luminance >= 0.1) & (luminance <= 0.475) & (np.hypot(lab[:, 1], lab[:, 2]) >= 0.09)
    colours, lab = colours[fits], lab[fits]
    greys = _oklab(np.array([(0, 0, 0), OUTLINE, *HATCHES], np.uint8))
    distances = np.linalg.norm(lab[:, None] - greys, axis=2).min(axis=1)
    palette = np.zeros((256, 3), np.uint8)
    for value in range(1, 255):
        farthest = int(distances.argmax())
        palette[value] = colours[farthest]
        distances = np.minimum(distances, np.linalg.norm(lab - lab[farthest], axis=1))
    return palette


def _linear(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    shares = colours / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def _oklab(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    lms = _linear(colours) @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lab: npt.NDArray[np.float64] = np.cbrt(lms) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    return lab


def class_colours(classes: Classes) -> dict[str, str]:
    """Return the display colour of background and of each class, as `#rrggbb`."""
    palette = display_palette()
    return {
        name: "#{:02x}{:02x}{:02x}".format(*palette[value])
        for name, value in {"background": 0, **classes}.items()
    }


def paint_labels(mask: LabelMap, hatch: int = 3) -> Image.Image:
    """Paint a label map: display colours, light outlines, neutral pixels hatched.

    Args:
        mask: (H, W) mask values.
        hatch: Width of the hatches in pixels.

    Returns:
        An indexed image with few colours; its background is colour 0.
    """
    values = np.union1d([0], mask)
    values = values[values != IGNORE_INDEX]
    painted = np.searchsorted(values, mask)
    rows, columns = np.indices(mask.shape)
    stripes = len(values) + 1 + (rows + columns) // hatch % 2
    painted = np.where(_outlines(mask), len(values), painted)
    painted = np.where(mask == IGNORE_INDEX, stripes, painted)
    image = Image.fromarray(painted.astype(np.uint8))
    colours = np.concatenate([display_palette()[values], [OUTLINE], HATCHES]).astype(np.uint8)
    image.putpalette(colours.tobytes())
    return image


def _outlines(mask: LabelMap) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose right or lower neighbour has another label; neutral ones have none."""
    marked = np.zeros(mask.shape, bool)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        differ = mask[first] != mask[second]
        known = (mask[first] != IGNORE_INDEX) & (mask[second] != IGNORE_INDEX)
        marked[first] |= differ & known
    return marked


def paint_heat(heat: Floats) -> Image.Image:
    """Paint a score map in [0, 1], to be laid over its photo: the lower, the more transparent.

    The colours are Matplotlib's `inferno`, which grows lighter evenly and needs no hue to be read.
    """
    from matplotlib import colormaps

    levels = np.linspace(0, 1, HEAT_LEVELS)
    image = Image.fromarray(np.round(heat.clip(0, 1) * (HEAT_LEVELS - 1)).astype(np.uint8))
    image.putpalette(colormaps["inferno"](levels, bytes=True)[:, :3].tobytes())
    image.info["transparency"] = (
        (255 * np.minimum(1, 0.15 + 1.4 * levels)).astype(np.uint8).tobytes()
    )
    return image


def blend(photo: npt.NDArray[np.uint8], picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Lay a picture over its photo, drawn in grey: (H, W, 3) uint8."""
    grey = Image.fromarray(photo).convert("L").convert("RGBA")
    return np.asarray(Image.alpha_composite(grey, picture.convert("RGBA")).convert("RGB"))


def name_labels(mask: LabelMap, classes: Classes) -> list[Name]:
    """Find where to write each class's name: in the middle of its widest part.

    Classes with no room for it are not named.
    """
    from scipy.ndimage import distance_transform_edt

    names = []
    for name, value in classes.items():
        if not (mask == value).any():
            continue
        room = distance_transform_edt(np.pad(mask == value, 1))[1:-1, 1:-1]
        if room.max() >= MIN_ROOM * max(mask.shape):
            names.append(_name(name, room))
    return names


def name_peaks(maps: Floats, names: list[str]) -> list[Name]:
    """Put each class's name at the peak of its map.

    Args:
        maps: (K, H, W) scores.
        names: The K names.
    """
    return [_name(name, scores) for name, scores in zip(names, maps, strict=True) if scores.any()]


def _name(text: str, scores: Floats) -> Name:
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    height, width = scores.shape
    across, down = (float(x) + 0.5) / width, (float(y) + 0.5) / height
    return Name(text, round(min(max(across, 0.1), 0.9), 3), round(min(max(down, 0.06), 0.94), 3))


def data_uri(image: Image.Image) -> str:
    """Encode a picture for an HTML page: indexed ones as PNG, photos as WebP."""
    file = io.BytesIO()
    if image.mode == "P":
        transparency = image.info.get("transparency", 0)  # by default colour 0, the background
        image.save(file, "PNG", optimize=True, transparency=transparency)
    else:
        image.save(file, "WEBP", quality=75)
    kind = "png" if image.mode == "P" else "webp"
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
