"""A trained segmentation network as an MLflow model: image files or arrays in, indexed PNGs out.

MLflow's registry keeps the exported checkpoint itself, and this module's name as its loader:
nothing is pickled.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from affinitynet.stages.model import Model, Prediction, check_pixels, load, open_photo

MAX_PIXELS = 64_000_000
"""Pixels of a photo at most, unless the model's configuration has `max_pixels`."""

WANTED = (
    "give an image file (JPEG, PNG, …) in base64, or an RGB array: nested lists, height x width x "
    "3, of whole numbers 0 … 255"
)


class Served:
    """The model that `mlflow.pyfunc.load_model` wraps.

    Args:
        max_pixels: Pixels of a photo at most; a larger one is refused before it is decoded.
    """

    def __init__(self, model: Model, max_pixels: int = MAX_PIXELS) -> None:
        self.model = model
        self.max_pixels = max_pixels

    def predict(
        self, data: pd.DataFrame | Mapping[str, Any], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Segment photos.

        Args:
            data: Column `image`: each photo as the bytes of an image file (JPEG, PNG, …), or as an
                RGB array (H, W, 3) of uint8. JSON has neither: there, base64 or nested lists.
            params: None are known.

        Returns:
            One row a photo: `mask`, the bytes of an indexed PNG of the photo's size, in mask
            values and VOC's colours; `classes`, class name to mask value; `present`, the share of
            the pixels of each class that it shows; `confidence`, the mean probability of the
            pixels' classes, in [0, 1].

        Raises:
            MlflowException: If a row is no image (HTTP status 400).
        """
        predictions = [self._segment(row, image) for row, image in enumerate(_rows(data["image"]))]
        return pd.DataFrame(
            {
                "mask": [_png(prediction.to_image()) for prediction in predictions],
                "classes": [prediction.classes for prediction in predictions],
                "present": [prediction.present for prediction in predictions],
                "confidence": [prediction.mean_confidence for prediction in predictions],
            }
        )

    def _segment(self, row: int, image: Any) -> Prediction:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import BAD_REQUEST

        try:
            return self.model.predict(decode(image, self.max_pixels))
        except ValueError as error:
            raise MlflowException(f"image {row}: {error}", error_code=BAD_REQUEST) from error


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Served:
    """MLflow's entry; `path` is the checkpoint's."""
    return Served(load(path, device="auto"), **(model_config or {}))


def _rows(images: Iterable[Any]) -> Iterator[Any]:
    """The photos of a column; `{"inputs": {"image": ["…", "…"]}}` comes as a row of texts."""
    for image in images:
        are_several = isinstance(image, list | np.ndarray) and len(image)
        if are_several and all(isinstance(each, str | bytes) for each in image):
            yield from image
        else:
            yield image


def decode(image: Any, max_pixels: int) -> Image.Image | npt.NDArray[np.uint8]:
    """Decode the photo of a request.

    Args:
        image: The bytes of an image file, the same in base64, or an array, which may be nested
            lists.
        max_pixels: Pixels of a photo at most.

    Raises:
        ValueError: If it is none of these, or too large.
    """
    if isinstance(image, str):
        try:
            image = b64decode("".join(image.split()), validate=True)  # MLflow writes it in lines
        except ValueError as error:
            raise ValueError(f"a text that is no base64 ({error}); {WANTED}") from error
    if isinstance(image, bytes | bytearray):
        return open_photo(BytesIO(image), max_pixels=max_pixels)
    if not isinstance(image, list | np.ndarray):
        raise ValueError(f"a value of type {type(image).__name__}; {WANTED}")
    pixels = _to_array(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"an array of shape {pixels.shape}; {WANTED}")
    check_pixels(pixels.shape[1], pixels.shape[0], max_pixels)
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"numbers from {pixels.min()} to {pixels.max()}; {WANTED}")
    return pixels.astype(np.uint8)


def _to_array(image: list[Any] | npt.NDArray[Any]) -> npt.NDArray[np.integer[Any]]:
    """Make an array of whole numbers; nothing is rounded, cut or parsed.

    Raises:
        ValueError: If the numbers are no whole ones, or rows differ in length.
    """
    if isinstance(image, np.ndarray) and image.dtype != object:
        kinds = {image.dtype.type}
    else:
        values = image.tolist() if isinstance(image, np.ndarray) else image
        try:
            image = np.array(values, object)
        except ValueError as error:
            raise ValueError(f"rows of different lengths; {WANTED}") from error
        kinds = {*map(type, image.flat)}
    if list in kinds:
        raise ValueError(f"rows of different lengths; {WANTED}")
    if wrong := [kind for kind in kinds if not (kind is int or issubclass(kind, np.integer))]:
        names = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise ValueError(f"an array of {names}; {WANTED}")
    try:
        return image if image.dtype == np.uint8 else np.asarray(image, np.int64)
    except OverflowError as error:
        raise ValueError(f"a number far beyond 255; {WANTED}") from error


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()
