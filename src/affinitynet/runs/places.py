"""The places that a run writes to, checked before anything is written."""

import os
from collections.abc import Mapping
from pathlib import Path

from affinitynet.errors import UserError

SQLITE = b"SQLite format 3\0"
"""What its files begin with."""


def check_places(places: Mapping[str, Path], photos: Path | None) -> None:
    """Check that folders can be written to, and that they do not lie among the photos.

    Args:
        places: Parameter to the folder that it names; the folder need not be there.
        photos: Folder of the photos, which is searched with all that is below it.

    Raises:
        UserError: Naming the parameter.
    """
    for parameter, folder in places.items():
        _check_writable(parameter, folder, folder)
        if photos and folder.resolve().is_relative_to(photos.resolve()):
            raise UserError(
                f"{parameter}={folder}: lies among the photos in {photos}; what is written there "
                "would be taken for photos the next time. Name another folder: "
                f"--params {parameter}=<folder>"
            )


def check_database(path: Path) -> None:
    """Check that MLflow's database is one, or can be made.

    Raises:
        UserError: If it is a folder or another file, or lies where nothing can be written.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(SQLITE))
        if start and start != SQLITE:
            raise UserError(
                f"mlflow_db={path}: is no SQLite database. Name another file: --params "
                "mlflow_db=<file>"
            )
    elif path.is_dir():
        raise UserError(f"mlflow_db={path}: is a folder. Name a file: --params mlflow_db=<file>")
    _check_writable("mlflow_db", path, path.parent)


def _check_writable(parameter: str, given: Path, folder: Path) -> None:
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        reason = f"{there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = f"nothing may be written to {there}"
    else:
        return
    raise UserError(f"{parameter}={given}: {reason}. Name another place: --params {parameter}=…")
