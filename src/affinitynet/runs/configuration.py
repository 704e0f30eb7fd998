"""The files of the configuration, wherever it lies: a folder, an archive of `kedro package`."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from kedro.config import AbstractConfigLoader


class Configuration:
    """What the configuration loader reads from, by environment.

    Args:
        loader: It has no public way to tell its files.
    """

    def __init__(self, loader: AbstractConfigLoader) -> None:
        omega: Any = loader  # the only loader that has its files on a file system
        self._files = omega._fs
        self._folder = omega._get_conf_env_path

    @property
    def environments(self) -> list[str]:
        """The names of the environments."""
        root = PurePosixPath(self._folder("base")).parent
        listed = self._files.ls(str(root), detail=True)
        return sorted(
            PurePosixPath(entry["name"]).name for entry in listed if entry["type"] == "directory"
        )

    def texts(self, environment: str) -> Iterator[str]:
        """Read the YAML files of an environment."""
        for path in sorted(self._files.find(self._folder(environment))):
            if path.endswith(".yml"):
                yield self._files.cat_file(path).decode()
