"""Named arrays, and score maps of images, as safetensors."""

from typing import Any

import numpy as np
from kedro.io.core import get_filepath_str
from kedro_datasets_experimental.safetensors import SafetensorsDataset
from safetensors.numpy import save

from affinitynet.core.class_maps import ClassMaps


class ArraysDataset(SafetensorsDataset):
    """A dict of arrays, in a safetensors file of any file system.

    Its base, `SafetensorsDataset`, writes only local files.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"backend": "numpy"} | kwargs)

    def save(self, data: dict[str, Any]) -> None:
        """Write the arrays."""
        # safetensors takes the memory as it lies
        content = save({name: np.asarray(array, order="C") for name, array in data.items()})
        path = get_filepath_str(self._get_save_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_save) as file:
            file.write(content)
        self._invalidate_cache()


class ClassMapsDataset(ArraysDataset):
    """The score maps of an image: a safetensors file with the arrays `labels` and `maps`."""

    def load(self) -> ClassMaps:
        """Read the maps."""
        return ClassMaps(**super().load())

    def save(self, data: ClassMaps) -> None:  # type: ignore[override]
        """Write the maps."""
        super().save(vars(data))
