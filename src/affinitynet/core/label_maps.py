"""Label maps: the data set's mask values on disk, contiguous labels in memory, VOC's colours.

In memory label 0 is background, label k the k-th class, `IGNORE_INDEX` no label at all. On disk
a class keeps the value that the data set gives it (PASCAL VOC: cat 8, dog 12, …), so that every
mask that is written can be compared with the data set's own.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

IGNORE_INDEX = 255
"""Label of pixels that neither train nor count: VOC's void, neutral pixels, other classes."""

LabelMap = npt.NDArray[np.uint8]
Classes = dict[str, int]
"""Class name to mask value, in the order of the labels 1, 2, …."""
Colour = tuple[int, int, int]
"""Red, green and blue."""
GREY_STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the values of greyscale PNGs of 2 and 4 bits by."""


def decode(mask: npt.ArrayLike, values: Sequence[int]) -> LabelMap:
    """Turn mask values into labels.

    Args:
        mask: (H, W) integers in 0 … 255, as stored.
        values: Mask value of each class; class k (from 1) is `values[k - 1]`.

    Returns:
        (H, W) labels 0 … K; every value that is no class's becomes `IGNORE_INDEX`.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[0] = 0
    table[list(values)] = np.arange(1, len(values) + 1)
    return table[np.asarray(mask, np.uint8)]


def encode(labels: npt.ArrayLike, values: Sequence[int]) -> LabelMap:
    """Turn labels into mask values, the inverse of `decode`.

    Args:
        labels: (H, W) integers: 0 … K and `IGNORE_INDEX`.
        values: Mask value of each class.

    Returns:
        (H, W) mask values; `IGNORE_INDEX` stays.
    """
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[: len(values) + 1] = [0, *values]
    return table[np.asarray(labels, np.uint8)]


def affinity_labels(strong: npt.NDArray[Any], weak: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Merge two label maps into confident objects, confident background and neutral pixels.

    Paper, section 3.2.1.

    Args:
        strong: (H, W) argmax of the CRF at the low alpha, whose strong background leaves only sure
            objects.
        weak: (H, W) argmax at the high alpha, whose weak background leaves only sure background.

    Returns:
        (H, W): 0 where `weak` has background, else the object of `strong`, else `IGNORE_INDEX`.
    """
    return np.where(weak == 0, 0, np.where(strong == 0, IGNORE_INDEX, strong))


def list_present(mask: LabelMap, classes: Classes) -> dict[str, float]:
    """List the classes that a mask shows, without background, the largest first.

    Args:
        mask: (H, W) mask values.

    Returns:
        Class name to its share of the pixels, in (0, 1].
    """
    shares = np.bincount(mask.ravel(), minlength=256) / mask.size
    present = [(name, float(shares[value])) for name, value in classes.items() if value]
    return {name: share for name, share in sorted(present, key=lambda each: -each[1]) if share}


def read_mask(image: Image.Image, colours: Mapping[Colour, int] | None = None) -> LabelMap:
    """Read the values of a mask that is stored as an image of any mode.

    The indices of a palette and the levels of grey are the values; but where a palette has VOC's
    colours in another order, as programs leave it that make files smaller, the colours count.
    Colours are those of `colours`, or of VOC's palette.

    Args:
        image: The mask, opened but not loaded.
        colours: Mask value of each colour, also of those in a palette; None for VOC's colours.

    Returns:
        (H, W) mask values.

    Raises:
        ValueError: If the image has other colours, or values above 255.
    """
    if image.format in ("JPEG", "MPO"):
        raise ValueError("is a JPEG, which does not keep a mask's values; save it as PNG")
    tiles = getattr(image, "tile", None)
    step = GREY_STEPS.get(str(tiles[0].args), 1) if tiles else 1
    image.load()
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(255)
    if image.mode == "L" and not (colours and _knows_greys(image, colours)):
        return np.asarray(image) // np.uint8(step)
    if image.mode == "P" and not colours and not _is_sorted_otherwise(image):
        return np.asarray(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_bytes(np.asarray(image))
    pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    codes = _encode_colours(pixels[..., :3])
    if pixels.shape[2] == 4:
        codes[pixels[..., 3] == 0] = 0
    found, inverse = np.unique(codes, return_inverse=True)
    values = _values_of_colours(found, colours)
    return values[inverse].reshape(codes.shape)


def _knows_greys(image: Image.Image, colours: Mapping[Colour, int]) -> bool:
    return all((grey,) * 3 in colours for _, grey in image.getcolors() or [])


def _is_sorted_otherwise(image: Image.Image) -> bool:
    indices = np.unique(np.asarray(image))
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if indices.max(initial=0) >= len(palette):
        return False
    codes = _encode_colours(palette[indices])
    known = [_voc_values().get(int(code)) for code in codes]
    different = len({*known}) == len(known) and None not in known
    return different and known != indices.tolist()


def _to_bytes(values: npt.NDArray[Any]) -> LabelMap:
    shown = np.unique(values)
    if {*shown.tolist()} <= {0, 65535}:
        return (values > 0).astype(np.uint8) * np.uint8(255)
    if wrong := [value for value in shown.tolist() if value not in range(256)]:
        raise ValueError(f"has the value {wrong[-1]:g}; a mask's values are 0 … 255")
    return values.astype(np.uint8)


def _encode_colours(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    return pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def _values_of_colours(
    codes: npt.NDArray[np.int32], colours: Mapping[Colour, int] | None
) -> LabelMap:
    """Find the mask value of each colour that a mask has."""
    table = _voc_values()
    if colours:
        named = _encode_colours(np.array([*colours], np.uint8).reshape(-1, 3)).tolist()
        void = _encode_colours(voc_palette()[[IGNORE_INDEX]]).tolist()
        table = dict.fromkeys(void, IGNORE_INDEX) | dict(zip(named, colours.values(), strict=True))
    unknown = [code for code in codes.tolist() if code not in table]
    if not unknown:
        return np.array([table[code] for code in codes.tolist()], np.uint8)
    if not colours and all(code % 65793 == 0 for code in codes.tolist()):  # 0x010101: all grey
        return (codes // 65793).astype(np.uint8)
    red, green, blue = unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255
    known = "the labelmap" if colours else "VOC's palette"
    raise ValueError(
        f"has {len(unknown)} colours that are not in {known}, as "
        f"({red}, {green}, {blue}); save it as an indexed PNG, or give labelmap=<labelmap.txt>"
    )


@cache
def _voc_values() -> dict[int, int]:
    return {int(code): value for value, code in enumerate(_encode_colours(voc_palette()))}


def voc_palette() -> npt.NDArray[np.uint8]:
    """Return PASCAL VOC's colours of the mask values: (256, 3) RGB.

    The bits of a value are dealt to red, green and blue in turn, most significant first.
    """
    values = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
                np.uint8
            )
    return palette
