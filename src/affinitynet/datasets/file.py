"""A file of the user's: tags that are not the project's own."""

import hashlib
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class FileDataset(AbstractDataset[NoReturn, bytes | None]):
    """A file as bytes, read only; None if there is no such file, or none is named.

    What the bytes mean, and whether it is wrong that they are missing, is for the checks of the
    input to say, together with all else that is wrong.

    Args:
        filepath: The file; None for none.
        metadata: Ignored by Kedro, for Kedro-Viz and other tools.

    Example:
        ```yaml
        tags:
          type: affinitynet.datasets.FileDataset
          filepath: data/01_raw/tags.csv
        ```
    """

    def __init__(self, *, filepath: str | None, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath) if filepath else None
        self.metadata = metadata

    def load(self) -> bytes | None:
        """Read the file."""
        return self._filepath.read_bytes() if self._filepath and self._exists() else None

    def save(self, data: NoReturn) -> NoReturn:
        """Refuse: the file is the user's own."""
        raise DatasetError(f"'{self._filepath}' is the user's own file: it is only read.")

    def fingerprint(self) -> str:
        """Summarise the file: `1204 bytes, 3f2a9c01`."""
        data = self.load()
        if data is None:
            return "none"
        return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:8]}"

    def _exists(self) -> bool:
        return bool(self._filepath and self._filepath.is_file())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
