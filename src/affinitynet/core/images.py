"""Photos of any mode, depth, orientation and size; maps between a photo and a network's grid."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.label_maps import LabelMap

if TYPE_CHECKING:
    from torch import Tensor

REPAIRS = "affinitynet.repairs"
"""Key in a photo's `info`: the steps that made it upright 8-bit RGB, one short text each."""
TURNED = "turned as its EXIF says"
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the transform that makes the photo upright; other values are ignored."""
OTHER_BYTES = {"L": "B", "B": "L", "N": "B"}
"""Byte order to one that reads the low bytes of 16-bit colour, where Pillow keeps the high ones."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits that the samples of a photo may use, whatever the file holds them in."""
STRIP = 2**23
"""Scores that are upsampled at a time, 32 MiB: a photo of more is done in horizontal strips."""


def load_photo(
    file: str | Path | IO[bytes], *, check: Callable[[int, int], None] | None = None
) -> Image.Image:
    """Read an image file in full: upright, in 8-bit RGB.

    Of a file of several frames the first is taken. `info[REPAIRS]` of the result lists what was
    done to it.

    Args:
        file: Its path, or an open file.
        check: Raises where width and height are too large; called before the file is decoded.

    Raises:
        OSError, ValueError, …: Pillow's decoders raise any error.
    """
    _register_formats()
    stored = Image.open(file)
    if check:
        check(*stored.size)
    tiles = [*stored.tile]
    repairs = []
    with suppress(Exception):
        # a phone's MPO has a preview beside the photo
        if stored.format != "MPO" and getattr(stored, "is_animated", False):
            repairs.append("the first of several frames")
        if stored.format == "TIFF" and read_orientation(stored) in UPRIGHT:
            repairs.append(TURNED)  # Pillow turns it when it is loaded
    stored.load()
    photo, depth = _read_deep(file, stored, tiles)
    repairs += [depth] if depth else []
    rgb = to_rgb(photo)
    rgb.info[REPAIRS] = (*repairs, *rgb.info[REPAIRS])
    return rgb


def to_rgb(photo: Image.Image) -> Image.Image:
    """Turn a photo upright (EXIF) and convert it to 8-bit RGB.

    Transparent parts become white, as on the page where such pictures are seen. Greyscale of more
    than 8 bits, or in fractions, is scaled by the range that it uses: Pillow would clip it.
    `info[REPAIRS]` of the result lists the repairs.

    Raises:
        ValueError: If no pixel holds a number.
    """
    photo.load()
    if photo.mode == "RGB" and REPAIRS in photo.info:
        return photo
    repairs = []
    orientation = read_orientation(photo)
    if photo.mode.startswith("I") or photo.mode == "F":
        values, repair = scale_to_8_bits(np.asarray(photo))
        photo = Image.fromarray(values)
        repairs += [repair] if repair else []
    if photo.has_transparency_data:
        layer = photo.convert("RGBA")
        if layer.getchannel("A").getextrema() == (0, 0):
            repairs.append("transparent everywhere: its colours are shown")
        else:
            photo = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    rgb = photo.convert("RGB")
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
        repairs.append(TURNED)
    rgb.info = {REPAIRS: tuple(repairs)}
    return rgb


def read_orientation(photo: Image.Image) -> int:
    """Read the EXIF orientation; EXIF that cannot be parsed counts as 1, upright."""
    try:
        return int(photo.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def is_upright_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG that every program shows as it is stored."""
    try:
        with Image.open(path) as photo:
            return photo.format == "JPEG" and read_orientation(photo) not in UPRIGHT
    except OSError:  # no format that Pillow knows without plug-ins
        return False


def scale_to_8_bits(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    """Scale samples of any type to 0 … 255 by the range that they use.

    That range is 0 … 1 for fractions, else that of 8, 10, 12, 14 or 16 bits; greater and negative
    samples are stretched from the lowest to the highest.

    Returns:
        The samples, and how they were scaled; empty for the usual 16 bits or fractions of 1.

    Raises:
        ValueError: If no sample is a number.
    """
    fractions = np.issubdtype(values.dtype, np.floating)
    repair = ""
    if fractions and not (finite := np.isfinite(values)).all():
        if not finite.any():
            raise ValueError("no pixel holds a number")
        values = np.where(finite, values, values[finite].min())
        repair = "pixels without a number"
    low, high = float(values.min()), float(values.max())
    slack = 0.1 if fractions else 0  # as resizing overshoots
    limits = [*([1] if fractions else []), *(2**depth - 1 for depth in DEPTHS)]
    limit = next((each for each in limits if high <= each * (1 + slack)), high)
    bottom = 0.0
    if low < -slack * limit:
        bottom, limit = low, high
    if bottom or limit not in limits:
        repair = ", ".join(filter(None, ["samples from lowest to highest", repair]))
    elif limit not in (1, 65535):
        repair = ", ".join(filter(None, [f"samples of 0 … {limit:g}", repair]))
    scaled = (values.astype(np.float32) - bottom) * np.float32(255 / max(limit - bottom, 1e-9))
    return np.clip(scaled + 0.5, 0, 255).astype(np.uint8), repair


@cache
def _register_formats() -> None:
    with suppress(ImportError):  # optional: pip install affinitynet[heic]
        import pillow_heif

        pillow_heif.register_heif_opener()


def _read_deep(
    file: str | Path | IO[bytes], photo: Image.Image, tiles: list[Any]
) -> tuple[Image.Image, str]:
    """Read 16-bit colour of fewer bits again: Pillow keeps the high, nearly empty bytes.

    Returns:
        The photo, its samples scaled by the range they use, and how; empty where nothing is to do.
    """
    modes = {_raw_mode(tile) for tile in tiles}
    if len(modes) != 1 or not (mode := modes.pop())[:-1].endswith(";16") or photo.mode[0] in "IL":
        return photo, ""
    colours = [*photo.getbands()].index("A") if "A" in photo.getbands() else len(photo.getbands())
    high = np.asarray(photo)
    if high[..., :colours].max(initial=0) >= 128:
        return photo, ""
    if not isinstance(file, str | Path):
        file.seek(0)
    again = Image.open(file)
    again.tile = [*_with_raw_mode(tiles, mode[:-1] + OTHER_BYTES[mode[-1]])]
    try:
        low = np.asarray(again)
    except ValueError:  # Pillow cannot read this mode so
        return photo, ""
    samples = high[..., :colours].astype(np.uint16) << 8 | low[..., :colours]
    values, repair = scale_to_8_bits(samples)
    deep = Image.fromarray(np.concatenate([values, high[..., colours:]], axis=2), photo.mode)
    deep.info = photo.info
    return deep, repair


def _raw_mode(tile: Any) -> str:
    return str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)


def _with_raw_mode(tiles: list[Any], mode: str) -> Iterator[Any]:
    for tile in tiles:
        arguments = (mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode
        yield tile._replace(args=arguments)


def working_size(height: int, width: int, long_side: int | None) -> tuple[int, int]:
    """Scale a size so that its longer side is `long_side`; None leaves it as it is."""
    factor = (long_side or max(height, width)) / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def resize_long_side(
    image: Image.Image,
    long_side: int | None,
    resample: Image.Resampling = Image.Resampling.BICUBIC,
) -> Image.Image:
    """Resize an image so that its longer side has `long_side` pixels; the ratio is kept.

    Args:
        image: Photo, or label map with `Image.Resampling.NEAREST`.
        long_side: Pixels; None leaves the image as it is.
        resample: Pillow's filter.
    """
    height, width = working_size(image.height, image.width, long_side)
    if (width, height) == image.size:
        return image
    return image.resize((width, height), resample)


def to_pixels(photo: Image.Image, long_side: int | None = None) -> npt.NDArray[np.uint8]:
    """Turn a photo of any mode into its pixels, upright, in RGB: (H, W, 3).

    Args:
        photo: Of any mode.
        long_side: Working size: pixels of its longer side; None for the photo's own size.
    """
    return np.asarray(resize_long_side(to_rgb(photo), long_side))


def image_tensor(image: Image.Image) -> "Tensor":
    """Copy an image to a tensor: (3, H, W) from RGB, (1, H, W) from one channel; uint8."""
    import torch

    return torch.from_numpy(np.atleast_3d(np.array(image, np.uint8))).permute(2, 0, 1).contiguous()


def upsample(maps: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize score maps bilinearly.

    Args:
        maps: (K, h, w) scores, any float type.
        size: Height and width in pixels.

    Returns:
        (K, height, width) float32.
    """
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(np.asarray(maps, np.float32))[None]
    resized: npt.NDArray[np.float32] = functional.interpolate(tensor, size, mode="bilinear")[
        0
    ].numpy()
    return resized


def upsampled_argmax(
    scores: "Tensor", size: tuple[int, int], *, in_255ths: bool = False
) -> tuple[LabelMap, npt.NDArray[Any]]:
    """Upsample probabilities bilinearly and take the best of each pixel, in flat memory.

    Photos of more than `STRIP` scores are done in horizontal strips, with the same result up to
    the last bit of a float.

    Args:
        scores: (K, h, w) float32 probabilities, on any device.
        size: Height and width in pixels.
        in_255ths: Return the probabilities as uint8, 255 for 1: a quarter of the memory.

    Returns:
        Labels (height, width), the first of equals, and their probability (height, width).
    """
    labels = np.empty(size, np.uint8)
    confidence = np.empty(size, np.uint8 if in_255ths else np.float32)
    height, width = size
    rows = max(1, STRIP // (len(scores) * width))
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        best, label = _upsample_rows(scores, size, strip).max(dim=0)
        labels[strip] = label.byte().cpu().numpy()
        probabilities = best.cpu().numpy()
        confidence[strip] = to_255ths(probabilities) if in_255ths else probabilities
    return labels, confidence


def to_255ths(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Round probabilities to 0 … 255."""
    return np.asarray(np.rint(probabilities * 255), np.uint8)


def _upsample_rows(scores: "Tensor", size: tuple[int, int], rows: slice) -> "Tensor":
    """The rows `rows` of scores (K, h, w) that are upsampled bilinearly to `size`."""
    import torch
    from torch.nn import functional

    height, width = size
    if rows.stop - rows.start == height:
        return functional.interpolate(scores[None], size, mode="bilinear")[0]
    cells = scores.shape[1]
    centres = torch.arange(rows.start, rows.stop, device=scores.device) + 0.5
    position = (centres * (cells / height) - 0.5).clamp(min=0)
    above = position.long()
    below = (above + 1).clamp(max=cells - 1)
    weight = (position - above)[:, None]
    first, last = int(above[0]), int(below[-1])
    near = scores[None, :, first : last + 1]
    wide = functional.interpolate(near, (near.shape[2], width), mode="bilinear")[0]
    upper = wide[:, above - first].mul_(1 - weight)
    return upper.add_(wide[:, below - first].mul_(weight))


def resize_labels(labels: LabelMap, size: tuple[int, int]) -> LabelMap:
    """Resize a label map to (height, width) pixels, each taking its nearest neighbour's label."""
    if labels.shape == size:
        return labels
    resized = Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized)
