"""A trained segmentation network as an MLflow model: image files or arrays in, indexed PNGs out.

MLflow's registry keeps the exported checkpoint itself, and this module's name as its loader:
nothing is pickled.
"""

from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from affinitynet.model import Model, Prediction, load, open_photo


class Served:
    """What `mlflow.pyfunc.load_model` wraps.

    Args:
        model: The network.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Segment photos.

        Args:
            data: Column `image`: each photo as the bytes of an image file (JPEG, PNG, …), or as an
                RGB array (H, W, 3) of uint8. JSON has neither: there, base64 or nested lists.
            params: None are known.

        Returns:
            One row a photo: `mask`, the bytes of an indexed PNG of the photo's size, in mask
            values and VOC's colours; `classes`, class name to mask value.

        Raises:
            MlflowException: If a row is no image (HTTP status 400).
        """
        predictions = [self._segment(row, image) for row, image in enumerate(data["image"])]
        return pd.DataFrame(
            {
                "mask": [_png(prediction.to_image()) for prediction in predictions],
                "classes": [prediction.classes for prediction in predictions],
            }
        )

    def _segment(self, row: int, image: bytes | str | list[Any] | npt.NDArray[Any]) -> Prediction:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import BAD_REQUEST

        try:
            return self.model.predict(_decode(image))
        except (ValueError, OverflowError) as error:
            raise MlflowException(f"image {row}: {error}", error_code=BAD_REQUEST) from error


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry; `path` is the checkpoint's."""
    return Served(load(path, device="auto"))


def _decode(image: bytes | str | list[Any] | npt.NDArray[Any]) -> Image.Image | npt.NDArray[Any]:
    if isinstance(image, str):
        try:
            image = b64decode("".join(image.split()), validate=True)  # MLflow writes it in lines
        except ValueError as error:
            raise ValueError(f"a text that is no base64 ({error})") from error
    if isinstance(image, bytes):
        return open_photo(BytesIO(image))
    return np.array(image, np.uint8) if isinstance(image, list) else image


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()
