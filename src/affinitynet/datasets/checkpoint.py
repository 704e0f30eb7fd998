"""Checkpoints of networks."""

from typing import Any, ClassVar

from kedro.io.core import get_filepath_str
from kedro_datasets.text import TextDataset

from affinitynet.core.checkpoint import Checkpoint


class CheckpointDataset(TextDataset):
    """A network's checkpoint, written by `torch.save`; nothing is unpickled when it is read.

    torch is imported by its first use, not with the catalog.
    """

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "wb"},
        "open_args_load": {"mode": "rb"},
    }

    def load(self) -> Checkpoint:  # type: ignore[override]
        """Read the checkpoint."""
        import torch

        path = get_filepath_str(self._get_load_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_load) as file:
            return Checkpoint(**torch.load(file, weights_only=True))

    def save(self, data: Checkpoint) -> None:  # type: ignore[override]
        """Write the checkpoint."""
        import torch

        path = get_filepath_str(self._get_save_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_save) as file:
            torch.save(data.state_dict(), file)
        self._invalidate_cache()
