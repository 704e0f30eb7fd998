"""The best values that a search has found, in the place of the configuration's."""

import glob
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fsspec.core import url_to_fs

from affinitynet.errors import UserError
from affinitynet.runs.record import unite

logger = logging.getLogger(__name__)

NEWEST = "newest"
"""Value of the parameter `best` that stands for the last search."""


def add_best(
    given: Mapping[str, Any], best: str, *, project: Path, data: str, workspace: str
) -> dict[str, Any]:
    """Add the values of a `best.yml` to the parameters of a run; those that are given stay.

    Args:
        given: The parameters given at run time, nested.
        best: `newest`, or a file; relative to the project.
        project: Its folder.
        data: The data folder, a path or the URL of an object store.
        workspace: The environment's folder in it.

    Raises:
        UserError: If there is no such file, or it is none of a search's.
    """
    path = _find_newest(data, workspace) if best == NEWEST else str(Path(project, best))
    try:
        files, file = url_to_fs(path)
        values = yaml.safe_load(files.cat_file(file))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"best={best}: {path} cannot be read ({error})") from error
    if not isinstance(values, dict) or values.keys() != {"revision"}:
        raise UserError(f"best={best}: {path} is no best.yml of a search: it has only `revision`")
    logger.info("The parameters of revision are those of %s.", path)
    return unite(values, given)


def _find_newest(data: str, workspace: str) -> str:
    files, root = url_to_fs(data)
    found = files.glob(f"{glob.escape(root)}/08_reporting/{workspace}/search/best.yml/*/best.yml")
    if not found:
        raise UserError(
            f"best=newest: there is no search of this environment in {data}; make one with: kedro "
            "run --pipeline search"
        )
    return str(files.unstrip_protocol(max(found)))
