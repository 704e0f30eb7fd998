"""Score maps of an image as safetensors."""

from affinitynet.core.class_maps import ClassMaps
from affinitynet.datasets.arrays import ArraysDataset


class ClassMapsDataset(ArraysDataset):
    """The score maps of an image: a safetensors file with the arrays `labels` and `maps`.

    Example:
        ```yaml
        maps:
          type: affinitynet.datasets.ClassMapsDataset
          filepath: data/maps/2007_000032.safetensors
        ```
    """

    def load(self) -> ClassMaps:
        """Read the maps."""
        return ClassMaps(**super().load())

    def save(self, data: ClassMaps) -> None:  # type: ignore[override]
        """Write the maps."""
        super().save(vars(data))
