"""Files that are taken over as they are."""

import os
import uuid
from pathlib import Path
from typing import Any, ClassVar

from kedro.io import DatasetError
from kedro_datasets.text import TextDataset

from affinitynet.datasets.atomic import PART_SUFFIX


class StoredFileDataset(TextDataset):
    """The bytes of a file; or, to save without holding them, the path of a file to take over.

    Example:
        ```yaml
        photo:
          type: affinitynet.datasets.StoredFileDataset
          filepath: data/08_reporting/photo.jpg
        ```
    """

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "wb"},
        "open_args_load": {"mode": "rb"},
    }

    def save(self, data: bytes | Path) -> None:
        """Write bytes, or link a file.

        Args:
            data: The bytes; or the path of a local file, which is linked (a hard link), or copied
                where the file system cannot do that.
        """
        if isinstance(data, Path):
            if self._protocol == "file" and _link(data, Path(self._get_save_path())):
                return
            data = data.read_bytes()
        super().save(data)


def _link(source: Path, destination: Path) -> bool:
    """Link a file, and say whether the file system could."""
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, part)
    except FileNotFoundError as error:
        raise DatasetError(f"'{source}' is gone.") from error
    except OSError:
        return False
    os.replace(part, destination)
    part.unlink(missing_ok=True)  # it is left where both were the same file already
    return True
