"""Masks for scoring: a folder of indexed PNGs, or drawn from COCO's instances."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from affinitynet.core.label_maps import LabelMap
from affinitynet.data.coco import read_masks
from affinitynet.datasets.folder import FolderDataset


class MasksDataset(FolderDataset):
    """Masks by photo id: a `FolderDataset` of indexed PNGs, or of a COCO file's instances.

    Example:
        ```yaml
        masks:
          type: affinitynet.datasets.MasksDataset
          path: data/01_raw/instances_val2017.json
        ```
    """

    def __init__(self, **kwargs: Any) -> None:
        defaults = {
            "filename_suffix": ".png",
            "dataset": "affinitynet.datasets.LabelMapDataset",
        }
        super().__init__(**defaults | kwargs)

    def load(self) -> dict[str, Callable[[], LabelMap]]:
        """List the masks: photo id to a function that reads or draws the mask."""
        if not self._path.endswith(".json"):
            return super().load()
        try:
            return read_masks(json.loads(Path(self._path).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # as a folder without masks: the checks of the input tell
