"""A trained segmentation network as an MLflow model: image files in, indexed PNGs out.

MLflow's registry keeps the exported checkpoint itself, and this module's name as its loader:
nothing is pickled.
"""

from io import BytesIO
from typing import Any

import pandas as pd
from PIL import Image

from affinitynet.model import Model, load, open_photo


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
            data: Column `image`: each photo as the bytes of an image file (JPEG, PNG, …).
            params: None are known.

        Returns:
            One row a photo: `mask`, the bytes of an indexed PNG of the photo's size, in mask
            values and VOC's colours; `classes`, class name to mask value.

        Raises:
            MlflowException: If a row is no image (HTTP status 400).
        """
        predictions = [
            self.model.predict(_open(i, content)) for i, content in enumerate(data["image"])
        ]
        return pd.DataFrame(
            {
                "mask": [_png(prediction.to_image()) for prediction in predictions],
                "classes": [prediction.classes for prediction in predictions],
            }
        )


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry; `path` is the checkpoint's."""
    return Served(load(path, device="auto"))


def _open(row: int, content: bytes) -> Image.Image:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST

    try:
        return open_photo(BytesIO(content))
    except ValueError as error:
        raise MlflowException(f"image {row}: {error}", error_code=BAD_REQUEST) from error


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "png")
    return file.getvalue()
