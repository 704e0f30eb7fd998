"""Masks that were corrected by hand, to train on."""

import hashlib
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from affinitynet.data.corrections import Corrected
from affinitynet.datasets.masks import MasksDataset, MasksHeaderDataset
from affinitynet.datasets.tags import TagsDataset


class CorrectedDataset(AbstractDataset[NoReturn, Corrected]):
    """Corrected masks: all that `MasksDataset` reads, under the names that the files have.

    Args:
        path: A folder of masks, or a file or folder of outlines; None for none.
        labelmap: CVAT's `labelmap.txt`, see `MasksDataset`.

    Example:
        ```yaml
        corrected:
          type: affinitynet.datasets.CorrectedDataset
          path: data/01_raw/corrected.json
        ```
    """

    def __init__(
        self,
        *,
        path: str | None,
        labelmap: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._path = path
        self._labelmap = labelmap
        self.metadata = metadata

    def load(self) -> Corrected:
        """List the masks, and read the names of their values."""
        if self._path is None:
            return Corrected()
        options: dict[str, Any] = {"path": self._path, "labelmap": self._labelmap}
        header = MasksHeaderDataset(**options).load()
        assert header is not None
        problem = header.problem.replace("masks=", "corrected=", 1)
        masks = {} if problem else MasksDataset(**options).load()
        return Corrected(masks, header.classes, problem, self._path)

    def save(self, data: NoReturn) -> NoReturn:
        """Refuse: the files are the user's own."""
        raise DatasetError(f"'{self._path}' is the user's own: it is only read.")

    def fingerprint(self) -> str:
        """Count the masks and summarise their files: `20 masks, 3f2a9c01`."""
        if self._path is None:
            return "none"
        files = sorted(Path(self._path).rglob("*")) or [Path(self._path)]
        sizes = [(str(file), file.stat().st_size) for file in files if file.is_file()]
        text = f"{sizes} {TagsDataset(filepath=self._path).fingerprint()}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{len(self.load().masks)} masks, {digest}"

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
