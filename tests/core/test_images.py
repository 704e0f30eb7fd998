"""Photos of every mode and orientation."""

import numpy as np
import pytest
import torch
from PIL import Image

from affinitynet.core.images import image_tensor, resize_long_side, to_rgb


def test_exif_orientation_is_applied():
    photo = Image.new("RGB", (40, 20))
    photo.getexif()[0x0112] = 6  # rotate by 90 degrees to view

    assert to_rgb(photo).size == (20, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_becomes_rgb(mode):
    photo = to_rgb(Image.new(mode, (5, 4)))

    assert (photo.mode, photo.size) == ("RGB", (5, 4))


def test_sixteen_bit_greyscale_is_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)

    rgb = np.asarray(to_rgb(Image.fromarray(values)))

    np.testing.assert_array_equal(rgb[0, :, 0], [0, 1, 128, 255])


def test_fractions_are_scaled_too():
    values = np.array([[0, 1 / 255, 0.5, 1]], np.float32)

    rgb = np.asarray(to_rgb(Image.fromarray(values)))

    np.testing.assert_array_equal(rgb[0, :, 0], [0, 1, 128, 255])


def test_transparent_pixels_become_white():
    photo = Image.new("RGBA", (1, 2), (10, 20, 30, 0))
    photo.putpixel((0, 1), (10, 20, 30, 255))

    rgb = np.asarray(to_rgb(photo))

    np.testing.assert_array_equal(rgb[:, 0], [[255, 255, 255], [10, 20, 30]])


@pytest.mark.parametrize(
    ("size", "expected"), [((500, 375), (256, 192)), ((100, 200), (128, 256)), ((999, 1), (256, 1))]
)
def test_the_longer_side_is_resized_and_the_ratio_kept(size, expected):
    assert resize_long_side(Image.new("RGB", size), 256).size == expected


def test_label_maps_keep_their_labels():
    labels = Image.fromarray(np.array([[0, 3], [255, 8]], np.uint8))

    resized = resize_long_side(labels, 64, Image.Resampling.NEAREST)

    assert set(np.unique(np.asarray(resized))) == {0, 3, 8, 255}


def test_tensors_hold_the_pixels():
    photo = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    assert torch.equal(
        image_tensor(Image.fromarray(photo)), torch.from_numpy(photo).permute(2, 0, 1)
    )
    assert image_tensor(Image.new("L", (4, 2))).shape == (1, 2, 4)
