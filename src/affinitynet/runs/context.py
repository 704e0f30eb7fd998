"""The project's Kedro context: a resumed run keeps the versions of the run that it continues."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.io.core import generate_timestamp

from affinitynet.errors import UserError
from affinitynet.platforms import check_platform

if TYPE_CHECKING:
    from affinitynet.pipelines.parameters import Parameters
    from affinitynet.runs.record import RunRecord

EXECUTION_PARAMS = (
    "resume",
    "data",
    "mlflow_db",
    "mlflow_tracking_uri",
    "mlflow_artifacts",
    "execution.engine",
    "execution.address",
    "execution.workers",
    "execution.worker_cpus",
    "execution.worker_gpus",
)
"""Parameters that say how and where to run, not what: they may differ between two commands."""


class RunContext(KedroContext):
    """A context that knows its run's record, the folder of records, and the run that it resumes."""

    checked: "Parameters"
    """All parameters, as built from their declarations."""

    record: "RunRecord | None" = None
    """The record of this run, from the moment that its inputs are checked."""

    resumed: "RunRecord | None" = None
    """The record of the unfinished run that this one continues, from the start of the run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the context.

        Raises:
            UserError: If the platform will not do, there is no such environment, or a parameter is
                wrong.
        """
        # Kedro imports this module for each command, also for those that make no context.
        from affinitynet.runs.configuration import Configuration
        from affinitynet.runs.parameters import anchor_paths, check_parameters
        from affinitynet.runs.places import check_database
        from affinitynet.runs.searched import add_best

        check_platform()
        super().__init__(*args, **kwargs)
        conf = Configuration(self.config_loader)
        if self.env and self.env not in conf.environments:
            raise UserError(
                f"--env {self.env}: there is no folder conf/{self.env}; give "
                + ", ".join(conf.environments)
            )
        given = {**(self.config_loader.runtime_params or {})}
        _choose_tracking(given, os.environ.get("MLFLOW_TRACKING_URI"))
        folder = Path(self.project_path)
        self.config_loader.runtime_params = given = anchor_paths(given, folder)
        if "mlflow_tracking_uri" not in given:
            check_database(Path(folder, given["mlflow_db"]))
        raw = anchor_paths(self.config_loader["parameters"], folder)
        if raw["best"]:
            self.config_loader.runtime_params = add_best(
                self.config_loader.runtime_params,
                raw["best"],
                project=folder,
                data=str(Path(folder, raw["data"])) if "://" not in raw["data"] else raw["data"],
                workspace=self.config_loader["globals"]["workspace"],
            )
            raw = anchor_paths(self.config_loader["parameters"], folder)
        texts = [*conf.texts("base"), *conf.texts(self.env or "local")]
        self.checked = check_parameters(raw, others=_read_at_run_time(texts))
        self.config_loader["parameters"] = raw

    @cached_property
    def raw_parameters(self) -> dict[str, Any]:
        """The parameters as configured and given at run time, not yet built into objects."""
        return dict(self.config_loader["parameters"])

    @property
    def tracked_params(self) -> dict[str, Any]:
        """The parameters that say what is run, flat: paths within the data folder from there."""
        from affinitynet.runs.record import flatten

        flat = flatten(self.raw_parameters)
        within = f"{flat['data']}/"  # a resumed run may name this folder in other words
        return {
            name: value.removeprefix(within) if isinstance(value, str) else value
            for name, value in flat.items()
            if name not in EXECUTION_PARAMS
        }

    @property
    def runtime_params(self) -> dict[str, Any]:
        """The parameters given at run time that say what is run, flat."""
        from affinitynet.runs.record import flatten

        given = flatten(self.config_loader.runtime_params or {})
        return {name: value for name, value in given.items() if name not in EXECUTION_PARAMS}

    @property
    def data(self) -> str:
        """Folder of everything that is read and made, a path or the URL of an object store."""
        data = str(self.raw_parameters["data"])
        return data if "://" in data else str(Path(self.project_path, data))

    @property
    def places(self) -> dict[str, Path]:
        """Folders of this machine that runs write to, by the parameters that name them."""
        given = self.config_loader.runtime_params or {}
        names = {"data": self.data} | {
            name: given[name] for name in ("exported", "mlflow_artifacts") if given.get(name)
        }
        local = {name: place for name, place in names.items() if "://" not in str(place)}
        return {name: Path(self.project_path, place) for name, place in local.items()}

    @property
    def records(self) -> str:
        """Folder of the run records, a path or the URL of an object store."""
        return f"{self.data}/08_reporting/runs"

    def find_unfinished(self, pipelines: Sequence[str]) -> "RunRecord | None":
        """Find the newest unfinished run of this environment if `resume` is set, else None.

        One from the future, of a clock that was ahead, comes last.

        Raises:
            UserError: If `resume` is set and there is no unfinished run of these pipelines.
        """
        from affinitynet.runs.record import read_records

        if not self.raw_parameters.get("resume"):
            return None
        env = self.env or "base"
        now = generate_timestamp()
        unfinished = [run for run in read_records(self.records) if not run.finished]
        unfinished.sort(key=lambda run: run.version > now)
        for run in unfinished:
            if run.env == env and set(run.pipelines) == set(pipelines):
                return run
        others = "".join(
            f"\n  {run.version}: {', '.join(run.pipelines)} in environment '{run.env}'"
            for run in unfinished
        )
        raise UserError(
            f"resume=true: {', '.join(pipelines)} has no unfinished run in environment '{env}' "
            f"(records: {self.records}). Leave `resume` out to start a new one."
            + (f"\nUnfinished are:{others}" if others else "")
        )


def _choose_tracking(given: dict[str, Any], environment: str | None) -> None:
    """Complete the parameters that say where MLflow tracks runs: see `conf/base/mlflow.yml`.

    Args:
        given: The parameters given at run time.
        environment: MLFLOW_TRACKING_URI.
    """
    if environment and "mlflow_db" not in given:
        given.setdefault("mlflow_tracking_uri", environment)
    given.setdefault("mlflow_db", "mlflow.db")
    given.setdefault("mlflow_artifacts", None if "mlflow_tracking_uri" in given else "mlartifacts")


def _read_at_run_time(texts: Iterable[str]) -> set[str]:
    """Names that the files of the configuration, such as a user's catalog, read of `--params`."""
    return {name for text in texts for name in re.findall(r"runtime_params:(\w+)", text)}
