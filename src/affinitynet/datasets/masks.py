"""Masks for scoring: a folder of indexed PNGs, or drawn from a file of outlines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from affinitynet.core.label_maps import LabelMap
from affinitynet.data.masks import DrawnMasks, draw_masks
from affinitynet.data.tag_file import MasksHeader, parse_source
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.photos import PhotosDataset
from affinitynet.datasets.tags import TagsDataset


class MasksDataset(FolderDataset):
    """Masks by photo id: a `FolderDataset` of indexed PNGs, or drawn from annotations' outlines.

    Args:
        photos: Folder of the photos, which files of outlines name; None for their names alone.
        **kwargs: Of `FolderDataset`; `path` may be a file: COCO, CVAT, Label Studio; or a folder
            of LabelMe's or YOLO's files.

    Example:
        ```yaml
        masks:
          type: affinitynet.datasets.MasksDataset
          path: data/01_raw/instances_val2017.json
          photos: data/01_raw/val2017
        ```
    """

    def __init__(self, *, photos: str | None = None, **kwargs: Any) -> None:
        defaults = {
            "filename_suffix": ".png",
            "dataset": "affinitynet.datasets.LabelMapDataset",
        }
        super().__init__(**defaults | kwargs)
        self._photos = photos

    def load(self) -> dict[str, Callable[[], LabelMap]]:
        """List the masks: photo id to a function that reads or draws the mask."""
        if found := super().load():
            return found
        try:
            drawn = read_drawn(self._path, self._photos)
        except ValueError:
            return {}  # as a folder without masks: the checks of the input say why
        return drawn.masks if drawn else {}


class MasksHeaderDataset(AbstractDataset[NoReturn, MasksHeader | None]):
    """What the masks' file says of itself: its classes, in the order of the mask values.

    It has no pixels, so that the numbering of the classes is known where masks must not be.

    Args:
        path: Of the masks; None for none.
        photos: Folder of the photos.
        metadata: Ignored by Kedro, for Kedro-Viz and other tools.

    Example:
        ```yaml
        masks_header:
          type: affinitynet.datasets.MasksHeaderDataset
          path: data/01_raw/instances_val2017.json
          photos: data/01_raw/val2017
        ```
    """

    def __init__(
        self, *, path: str | None, photos: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._path = path
        self._photos = photos
        self.metadata = metadata

    def load(self) -> MasksHeader | None:
        """Read the names of the mask values; None for masks that are images."""
        if self._path is None or not Path(self._path).exists():
            return None
        try:
            drawn = read_drawn(self._path, self._photos)
        except ValueError as error:
            return MasksHeader([], [], problem=str(error).replace("tags=", "masks=", 1))
        return MasksHeader(drawn.classes, drawn.notes) if drawn else None

    def save(self, data: NoReturn) -> NoReturn:
        """Refuse: the file is the user's own."""
        raise DatasetError(f"'{self._path}' is the user's own file: it is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path, "photos": self._photos}


def read_drawn(path: str, photos: str | None) -> DrawnMasks | None:
    """Read a file, or a folder, of outlines; None for a folder of images.

    Raises:
        ValueError: If it is in no known format.
    """
    images = next(Path(path).rglob("*.png"), None)
    source = None if images else TagsDataset(filepath=path).load()
    if source is None:
        return None
    given = parse_source(source, path, ";")
    if photos is None:
        return draw_masks(given, {row.file: bytes for row in given.rows}, path)
    return draw_masks(given, PhotosDataset(path=photos).load(), path)
