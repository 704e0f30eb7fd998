"""Photos of every mode and orientation."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from affinitynet.core.images import (
    REPAIRS,
    TURNED,
    image_tensor,
    is_upright_jpeg,
    load_photo,
    resize_long_side,
    scale_to_8_bits,
    to_rgb,
)


def test_exif_orientation_is_applied():
    photo = Image.new("RGB", (40, 20))
    photo.getexif()[0x0112] = 6  # rotate by 90 degrees to view

    assert to_rgb(photo).size == (20, 40)


def test_a_photo_is_turned_once():
    photo = Image.new("RGB", (40, 20))
    photo.getexif()[0x0112] = 6

    assert to_rgb(to_rgb(photo)).size == (20, 40)


PHOTO = np.arange(0, 240, 10, np.uint8).reshape(4, 6)
SHARES = PHOTO / 255


def sixteen_bit_png(samples):
    """A PNG of 16-bit colour, which Pillow cannot write."""
    height, width, bands = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def stored(image, suffix=".png", **options):
    file = BytesIO()
    image.save(file, Image.registered_extensions()[suffix], **options)
    file.seek(0)
    return file


@pytest.mark.parametrize(
    ("samples", "repair"),
    [
        (PHOTO, ""),
        (PHOTO.astype(np.uint16), "samples of 0 … 255"),
        (np.rint(SHARES * 1023).astype(np.uint16), "samples of 0 … 1023"),
        (np.rint(SHARES * 4095).astype(np.uint16), "samples of 0 … 4095"),
        (np.rint(SHARES * 4095).astype(np.int32), "samples of 0 … 4095"),
        (PHOTO.astype(np.uint16) * 257, ""),
        (SHARES.astype(np.float32), ""),
        (PHOTO.astype(np.float32), "samples of 0 … 255"),
        (SHARES.astype(np.float32) * 4095, "samples of 0 … 4095"),
        (SHARES.astype(np.float32) * 65535, ""),
    ],
)
def test_samples_are_scaled_by_the_range_that_they_use(samples, repair):
    photo = to_rgb(Image.fromarray(samples))

    assert np.abs(np.asarray(photo)[..., 1].astype(int) - PHOTO).max() <= 1
    assert photo.info[REPAIRS] == ((repair,) if repair else ())


def test_samples_beyond_every_depth_are_stretched():
    for samples in (PHOTO.astype(np.int32) * 10_000, (SHARES * 2 - 1).astype(np.float32)):
        values, repair = scale_to_8_bits(samples)
        assert (values.min(), values.max()) == (0, 255)
        assert repair == "samples from lowest to highest"


def test_fractions_may_overshoot():
    values, _ = scale_to_8_bits(np.array([-0.05, 0, 0.5, 1, 1.05], np.float32))

    assert values.tolist() == [0, 0, 128, 255, 255]


def test_pixels_without_a_number_are_dark_and_reported():
    samples = SHARES.astype(np.float32)
    samples[0, :3] = np.nan, np.inf, -np.inf
    values, repair = scale_to_8_bits(samples)

    assert values[0, :3].tolist() == [values.min()] * 3
    assert (values[1:] == PHOTO[1:]).all()
    assert repair == "pixels without a number"
    with pytest.raises(ValueError, match="no pixel holds a number"):
        to_rgb(Image.fromarray(np.full((4, 6), np.nan, np.float32)))


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("bands", [3, 4])
def test_sixteen_bit_colour_of_fewer_bits_is_not_black(bits, bands):
    depth = 2**bits - 1
    colours = np.stack([PHOTO, PHOTO[::-1], PHOTO], axis=-1)
    samples = np.rint(colours / 255 * depth).astype(np.uint16)
    if bands == 4:
        samples = np.concatenate([samples, np.full((4, 6, 1), 65535, np.uint16)], axis=-1)

    photo = load_photo(BytesIO(sixteen_bit_png(samples)))

    assert np.abs(np.asarray(photo).astype(int) - colours).max() <= 1
    assert photo.info[REPAIRS] == ((f"samples of 0 … {depth}",) if bits < 16 else ())


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".tif", ".webp", ".avif", ".jp2", ".ppm"])
def test_every_format_is_read(suffix):
    photo = load_photo(stored(Image.new("RGB", (40, 20), (200, 100, 50)), suffix))

    assert photo.size == (40, 20)
    assert np.abs(np.asarray(photo).astype(int) - (200, 100, 50)).max() <= 4
    assert photo.info[REPAIRS] == ()


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (40, 20), (200, 100, 50))).save(tmp_path / "a.heic")

    assert load_photo(tmp_path / "a.heic").size == (40, 20)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_of_several_frames_the_first_is_taken(suffix):
    light, dark = Image.new("L", (40, 20), 200), Image.new("L", (40, 20), 10)
    photo = load_photo(stored(light, suffix, save_all=True, append_images=[dark]))

    assert np.asarray(photo).min() >= 195
    assert photo.info[REPAIRS] == ("the first of several frames",)


def test_cmyk_keeps_its_colours():
    cmyk = Image.new("RGB", (40, 20), (200, 100, 50)).convert("CMYK")

    for suffix in (".jpg", ".tif"):
        photo = load_photo(stored(cmyk, suffix))
        assert np.abs(np.asarray(photo).astype(int) - (200, 100, 50)).max() <= 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_read_from_every_format(suffix, orientation):
    image = Image.fromarray(np.repeat(PHOTO, 8).reshape(16, 12)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation

    photo = load_photo(stored(image, suffix, exif=exif))

    image.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(image)
    assert np.abs(np.asarray(photo).astype(int) - np.asarray(expected)).mean() < 12
    assert photo.size == expected.size
    assert photo.info[REPAIRS] == ((TURNED,) if 2 <= orientation <= 8 else ())


TURN = struct.pack("<HHII", 0x0112, 3, 1, 6)
GPS = struct.pack("<HHII", 0x8825, 4, 1, 2**31)
BROKEN_EXIF = {
    "no header": b"Exif\0\0broken",
    "empty": b"Exif\0\0",
    "cut": b"Exif\0\0II*\0\x08\0\0\0\x05\0" + TURN[:7],
    "beyond its end": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "junk": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
}


@pytest.mark.parametrize("kind", BROKEN_EXIF)
def test_exif_that_cannot_be_parsed_says_nothing(tmp_path, kind):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 20)).save(path, exif=BROKEN_EXIF[kind])

    assert load_photo(path).size == (40, 20)
    assert to_rgb(Image.open(path)).size == (40, 20)
    assert is_upright_jpeg(path)


def test_an_orientation_counts_though_the_rest_of_exif_is_broken(tmp_path):
    path = tmp_path / "a.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + TURN + GPS + b"\0\0\0\0"
    Image.new("RGB", (40, 20)).save(path, exif=exif)

    assert load_photo(path).size == (20, 40)
    assert not is_upright_jpeg(path)


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


def test_a_photo_that_is_transparent_everywhere_shows_its_colours():
    photo = to_rgb(Image.new("RGBA", (1, 2), (10, 20, 30, 0)))

    assert photo.getpixel((0, 0)) == (10, 20, 30)
    assert photo.info[REPAIRS] == ("transparent everywhere: its colours are shown",)


def test_transparent_colours_of_a_palette_become_white():
    photo = Image.fromarray(np.array([[0, 1]], np.uint8))
    photo.putpalette([10, 20, 30, 40, 50, 60])

    rgb = load_photo(stored(photo, transparency=0))

    assert [rgb.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


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
