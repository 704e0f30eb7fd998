"""What a request may hold: image files, and arrays of whole numbers from 0 to 255."""

import tracemalloc
from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from affinitynet.serving import MAX_PIXELS, Served, decode


def png(width, height):
    file = BytesIO()
    Image.new("L", (width, height)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    "image",
    [
        [[[0, 128, 255]]],
        np.array([[[0, 128, 255]]], np.uint8),
        np.array([[[0, 128, 255]]], np.int64),
        np.array([[[0, 128, 255]]], object),
    ],
    ids=lambda image: str(getattr(image, "dtype", "list")),
)
def test_whole_numbers_are_pixels(image):
    pixels = decode(image, MAX_PIXELS)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[[0.9, 0.5, 0.1]]], "an array of float;"),
        ([[[1.0, 2.0, 3.0]]], "an array of float;"),
        ([[[1, 2, 3.0]]], "an array of float;"),
        ([[[True, 2, 3]]], "an array of bool;"),
        ([[["1", "2", "3"]]], "an array of str;"),
        ([[[None, 2, 3]]], "an array of NoneType;"),
        ([[[float("nan"), 2, 3]]], "an array of float;"),
        ([[[-1, 2, 3]]], "numbers from -1 to 3;"),
        ([[[256, 2, 3]]], "numbers from 2 to 256;"),
        ([[[10**30, 2, 3]]], "a number far beyond 255;"),
        ([[1, 2, 3]], r"an array of shape \(1, 3\);"),
        ([[[1, 2]]], r"an array of shape \(1, 1, 2\);"),
        ([], r"an array of shape \(0,\);"),
        ([[[1, 2, 3]], [[1, 2, 3], [1, 2, 3]]], "rows of different lengths;"),
        ([[1, 2], [3]], "rows of different lengths;"),
        (np.zeros((2, 2, 3), np.float32), "an array of float32;"),
        (np.zeros((2, 2, 3), bool), "an array of bool;"),
        (np.array(3), r"an array of shape \(\);"),
        ("abc", "a text that is no base64"),
        (b"abc", "no image that Pillow can read"),
        (None, "a value of type NoneType;"),
        ({"a": 1}, "a value of type dict;"),
    ],
)
def test_all_else_is_refused_with_a_reason(image, message):
    with pytest.raises(ValueError, match=message):
        decode(image, MAX_PIXELS)


@pytest.mark.parametrize("form", [bytes, "base64"])
def test_a_photo_of_too_many_pixels_is_refused_before_it_is_decoded(form):
    image = png(100, 80)
    image = image if form is bytes else b64encode(image).decode()
    assert decode(image, 8000).size == (100, 80)
    with pytest.raises(ValueError, match="a photo of 100 x 80 pixels; at most 7,999 pixels"):
        decode(image, 7999)
    with pytest.raises(ValueError, match="a photo of 100 x 80 pixels"):
        decode(np.zeros((80, 100, 3), np.uint8), 7999)


def test_refusing_takes_no_memory():
    bomb = png(9_000, 9_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match="a photo of 9000 x 9000 pixels"):
        decode(bomb, MAX_PIXELS)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_row_of_texts_is_a_row_for_each():
    class Echo:
        def predict(self, image):
            return image

    served = Served(Echo())
    with pytest.raises(Exception, match=r"image 1: a text that is no base64"):
        served.predict({"image": [[b64encode(png(2, 2)).decode(), "abc"]]})
