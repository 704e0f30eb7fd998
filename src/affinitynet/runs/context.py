"""The project's Kedro context: a resumed run keeps the versions of the run that it continues."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DataCatalog
from kedro.validation.exceptions import ParameterValidationError

from affinitynet.errors import UserError
from affinitynet.platforms import check_platform
from affinitynet.runs.configuration import Configuration
from affinitynet.runs.parameters import list_unknown_names, list_wrong_values
from affinitynet.runs.record import RunRecord, flatten, read_records

CONTROL = (
    "resume",
    "data",
    "mlflow_db",
    "mlflow_artifacts",
    "execution.engine",
    "execution.address",
    "execution.workers",
    "execution.worker_cpus",
    "execution.worker_gpus",
)
"""Parameters that say how and where to run, not what: they may differ between two commands."""

PATHS = (
    *("data", "voc_root", "images", "tags", "masks", "overlays", "confidences", "coco"),
    *("exported", "mlflow_db", "mlflow_artifacts"),
)
"""Parameters that name a file or a folder."""


class RunContext(KedroContext):
    """A context that knows its run's record, the folder of records, and the run that it resumes."""

    record: RunRecord | None = None
    """The record of this run, from the moment that its inputs are checked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the context.

        Raises:
            UserError: If the platform or the environment is none that there is, or a parameter of
                the command line.
        """
        check_platform()
        super().__init__(*args, **kwargs)
        conf = Configuration(self.config_loader)
        if self.env and self.env not in conf.environments:
            raise UserError(
                f"--env {self.env}: there is no folder conf/{self.env}; give "
                + ", ".join(conf.environments)
            )
        told = self.config_loader.runtime_params = {**(self.config_loader.runtime_params or {})}
        if told.get("images") == [None]:  # `images=-`: the command line reads a YAML list
            told["images"] = "-"
        for name in ("data", "images", "masks", "mask_folder", "voc_root"):
            if name in told and not told[name]:
                raise UserError(f"--params {name}=: name a folder")
        for name, value in told.items():  # the shell leaves `images=~/photos` to us
            if isinstance(value, str):
                told[name] = os.path.expanduser(value)
        files = [file for env in ("base", self.env or "local") for file in conf.texts(env)]
        if unknown := [*list_unknown_names(told, files)]:
            raise UserError("--params has names that nothing reads:" + _lines(unknown))
        told.setdefault("mlflow_db", "mlflow.db")
        told.setdefault("mlflow_artifacts", "mlartifacts")
        self._anchor(told)
        parameters = self.config_loader["parameters"]
        self._anchor(parameters)
        self.config_loader["parameters"] = parameters

    def _anchor(self, values: dict[str, Any]) -> None:
        """Let relative paths begin at the project's folder, as the catalog's do."""
        for name in PATHS:
            path = values.get(name)
            if isinstance(path, str) and path != "-" and "://" not in path:
                values[name] = str(Path(self.project_path, path))

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, with those that a node takes as a dataclass built into one.

        Raises:
            UserError: If one of them has a value that it cannot have.
        """
        if wrong := [*list_wrong_values(self.raw_parameters)]:
            raise UserError("Parameters have wrong values:" + _lines(wrong))
        try:
            return dict(super().params)
        except ParameterValidationError as error:
            raise UserError(f"{error}\nconf/base explains each parameter.") from error

    @cached_property
    def raw_parameters(self) -> dict[str, Any]:
        """The parameters as configured and given at run time, not yet built into objects."""
        return dict(self.config_loader["parameters"])

    @property
    def what_is_run(self) -> dict[str, Any]:
        """The parameters that say what is run, flat: paths within the data folder from there."""
        flat = flatten(self.raw_parameters)
        within = f"{flat['data']}/"  # a resumed run may name this folder in other words
        return {
            name: value.removeprefix(within) if isinstance(value, str) else value
            for name, value in flat.items()
            if name not in CONTROL
        }

    @property
    def told(self) -> dict[str, Any]:
        """The parameters given at run time that say what is run, flat."""
        told = flatten(self.config_loader.runtime_params or {})
        return {name: value for name, value in told.items() if name not in CONTROL}

    @property
    def records(self) -> str:
        """Folder of the run records, a path or the URL of an object store."""
        data = str(self.raw_parameters["data"])
        root = data if "://" in data else Path(self.project_path, data)
        return f"{root}/08_reporting/runs"

    @cached_property
    def resumed(self) -> RunRecord | None:
        """The newest unfinished run of this environment and pipeline if `resume` is set, else None.

        Raises:
            UserError: If `resume` is set and there is no unfinished run, or it is still going on.
        """
        if not self.raw_parameters.get("resume"):
            return None
        env = self.env or "base"
        # The session notes the pipelines asked for before it makes the context; there is no
        # public way to read them back.
        names = pipelines._requested_pipelines or ["__default__"]
        unfinished = [run for run in read_records(self.records) if not run.finished]
        for run in unfinished:
            if run.env == env and set(run.pipelines) == set(names):
                if run.is_alive:
                    raise UserError(
                        f"resume=true: the run {run.version} is still going on, in the process "
                        f"{run.process.split()[1]} of this machine. Wait for its end, or end it."
                    )
                return run
        others = "".join(
            f"\n  {run.version}: {', '.join(run.pipelines)} in environment '{run.env}'"
            for run in unfinished
        )
        raise UserError(
            f"resume=true: {', '.join(names)} has no unfinished run in environment '{env}' "
            f"(records: {self.records}). Leave `resume` out to start a new one."
            + (f"\nUnfinished are:{others}" if others else "")
        )

    def _get_catalog(
        self,
        catalog_class: type = DataCatalog,
        save_version: str | None = None,
        load_versions: dict[str, str] | None = None,
    ) -> CatalogProtocol:
        if save_version and (run := self.resumed):
            save_version = run.version
            load_versions = dict.fromkeys(run.outputs, run.version) | (load_versions or {})
        return super()._get_catalog(catalog_class, save_version, load_versions)


def _lines(problems: list[str]) -> str:
    return "".join(f"\n  {problem}" for problem in problems)
