import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affinitynet.core.label_maps import (
    affinity_labels,
    decode,
    encode,
    read_mask,
    voc_palette,
)


@given(st.lists(st.integers(1, 254), unique=True, max_size=20), st.data())
@settings(deadline=None)
def test_encoding_is_undone_by_decoding(values, data):
    labels = np.array(
        data.draw(st.lists(st.sampled_from([*range(len(values) + 1), 255]))), np.uint8
    )
    np.testing.assert_array_equal(decode(encode(labels, values), values), labels)


def test_values_of_other_classes_are_ignored():
    assert decode([[0, 8, 9, 12, 255]], [8, 12]).tolist() == [[0, 1, 255, 2, 255]]


def test_palette_is_pascal_voc_s():
    palette = voc_palette()
    assert palette[[0, 1, 8, 12, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [64, 0, 0],
        [64, 0, 128],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


VALUES = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)


def stored(image, **options):
    file = BytesIO()
    image.save(file, "png", **options)
    return Image.open(file)


def grey_png(values, bits):
    """A greyscale PNG of fewer than 8 bits, as ImageMagick and oxipng write it."""
    height, width = values.shape
    flags = (values[..., None] >> np.arange(bits)[::-1] & 1).astype(bool).reshape(height, -1)
    lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in flags)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return Image.open(BytesIO(data))


def indexed(values, palette):
    image = Image.fromarray(values)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


COLOURED = Image.fromarray(voc_palette()[VALUES])
TRANSPARENT = np.dstack([voc_palette()[VALUES], np.full((2, 3), 255, np.uint8)])
TRANSPARENT[0, 0] = 9, 9, 9, 0


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(VALUES),
        indexed(VALUES, voc_palette()),
        Image.fromarray(VALUES.astype(np.uint16)),
        Image.fromarray(VALUES.astype(np.int32)),
        Image.fromarray(VALUES).convert("LA"),
        Image.fromarray(np.dstack([VALUES] * 3)),  # as OpenCV writes what it read
        COLOURED,
        COLOURED.convert("RGBA"),
        Image.fromarray(TRANSPARENT),
    ],
)
def test_masks_of_every_mode_have_the_same_values(image):
    np.testing.assert_array_equal(read_mask(image), VALUES)
    if image.mode != "I":
        np.testing.assert_array_equal(read_mask(stored(image)), VALUES)


def test_masks_of_few_bits_keep_their_values():
    values = VALUES.clip(max=3)
    for bits in (2, 4):
        np.testing.assert_array_equal(read_mask(grey_png(values, bits)), values)
        palette = stored(indexed(values, voc_palette()[:4]), bits=bits)
        np.testing.assert_array_equal(read_mask(palette), values)


def test_masks_of_one_bit_are_binary():
    for image in (Image.fromarray(VALUES > 0), Image.fromarray((VALUES > 0) * np.uint16(65535))):
        np.testing.assert_array_equal(read_mask(stored(image)), (VALUES > 0) * 255)


COLOURS = {(0, 0, 0): 0, (250, 50, 183): 1, (0, 128, 0): 2, (224, 224, 192): 255}


def test_colours_of_a_labelmap_are_read_from_colour_images_and_palettes():
    palette = [*COLOURS]
    for image in (
        Image.fromarray(np.array(palette, np.uint8)[VALUES.clip(max=3)]),
        indexed(VALUES.clip(max=3), palette),
        indexed(np.array([[3, 2, 0], [0, 1, 3]], np.uint8), [palette[k] for k in (2, 3, 1, 0)]),
    ):
        np.testing.assert_array_equal(read_mask(stored(image), COLOURS), VALUES)
    np.testing.assert_array_equal(read_mask(stored(Image.fromarray(VALUES)), COLOURS), VALUES)


@pytest.mark.parametrize(
    ("image", "colours", "message"),
    [
        (Image.new("RGB", (4, 4), (1, 2, 3)), None, r"1 colours that are not in VOC.*\(1, 2, 3\)"),
        (COLOURED, COLOURS, r"1 colours that are not in the labelmap, as \(128, 0, 0\)"),
        (Image.fromarray(np.full((4, 4), 3000, np.uint16)), None, "has the value 3000; a mask's"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), None, "has the value 0.5; a mask's"),
    ],
)
def test_what_is_no_mask_is_named(image, colours, message):
    with pytest.raises(ValueError, match=message):
        read_mask(image, colours)


def test_jpeg_is_no_mask():
    file = BytesIO()
    COLOURED.save(file, "jpeg")
    with pytest.raises(ValueError, match="is a JPEG, which does not keep a mask's values"):
        read_mask(Image.open(file))


def test_labels_of_the_two_crfs_merge_into_confident_and_neutral_pixels():
    low = np.array([[0, 2, 1, 0]])
    high = np.array([[0, 2, 0, 3]])
    assert affinity_labels(low, high).tolist() == [[0, 2, 0, 255]]
