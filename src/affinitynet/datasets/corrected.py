"""Masks that were corrected by hand, to train on."""

import hashlib
from pathlib import Path

from affinitynet.data.corrections import Corrected
from affinitynet.datasets.masks import MasksDataset, MasksHeaderDataset
from affinitynet.datasets.tags import TagsDataset


class CorrectedDataset(MasksHeaderDataset):
    """Corrected masks: all that `MasksDataset` reads, under the names that the files have.

    Its `path` is a folder of masks, or a file or folder of outlines; None for none.
    """

    def load(self) -> Corrected:  # type: ignore[override]
        """List the masks, and read the names of their values."""
        if self._path is None:
            return Corrected()
        header = super().load()
        assert header is not None
        problem = header.problem.replace("masks=", "corrected=", 1)
        masks = {} if problem else MasksDataset(**self._describe()).load()
        return Corrected(masks, header.classes, problem, self._path)

    def fingerprint(self) -> str:
        """Count the masks and summarise their files: `20 masks, 3f2a9c01`."""
        if self._path is None:
            return "none"
        files = sorted(Path(self._path).rglob("*")) or [Path(self._path)]
        sizes = [(str(file), file.stat().st_size) for file in files if file.is_file()]
        text = f"{sizes} {TagsDataset(filepath=self._path).fingerprint()}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{len(self.load().masks)} masks, {digest}"
