"""Regions of the photos that another program made."""

from typing import Any

from affinitynet.core.segments import SLIC
from affinitynet.datasets.folder import FolderDataset


class SegmentsDataset(FolderDataset):
    """Images of regions by file name: a `FolderDataset` that may be of no folder.

    Args:
        path: Of the folder; None, or `slic`, for no images.
        **kwargs: Of `FolderDataset`.

    Example:
        ```yaml
        segments:
          type: affinitynet.datasets.SegmentsDataset
          path: data/01_raw/sam_masks
        ```
    """

    def __init__(self, *, path: str | None, **kwargs: Any) -> None:
        super().__init__(**{"path": path or SLIC, "dataset": "pillow.ImageDataset"} | kwargs)
        self._given = path not in (None, SLIC)

    def _list_partitions(self) -> list[str]:
        return super()._list_partitions() if self._given else []

    def fingerprint(self) -> str:
        """Summarise the folder, see `FolderDataset`; `none` without one."""
        return super().fingerprint() if self._given else "none"
