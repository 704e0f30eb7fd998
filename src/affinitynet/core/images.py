"""Photos as they come: any mode, any orientation, any size."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor


def to_rgb(photo: Image.Image) -> Image.Image:
    """Turn a photo upright (EXIF) and convert it to RGB.

    Transparent parts become white, as on the page where such pictures are seen. Greyscale with
    more than 8 bits, or in fractions, is scaled to 8: Pillow's own conversion would clip it.
    """
    photo.load()
    with suppress(Exception):  # EXIF that cannot be read says nothing of the photo
        photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I") or photo.mode == "F":
        values = np.asarray(photo, np.float32)
        # 16-bit files hold 0 ... 65535, whatever the mode Pillow reads them in; others 0 ... 1
        is_share = photo.mode == "F" and values.max(initial=0) <= 1
        scale = 255 if is_share else 1 / 257
        photo = Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8))
    if photo.has_transparency_data:
        layer = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return photo.convert("RGB")


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
    if long_side is None:
        return image
    factor = long_side / max(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    if (width, height) == image.size:
        return image
    return image.resize((width, height), resample)


def image_tensor(image: Image.Image) -> "Tensor":
    """Copy an image to a tensor: (3, H, W) from RGB, (1, H, W) from one channel; uint8."""
    import torch

    return torch.from_numpy(np.atleast_3d(np.array(image, np.uint8))).permute(2, 0, 1).contiguous()
