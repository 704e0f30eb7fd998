"""What happens when Kedro reads the settings: this process is set up, and MLflow not imported.

That takes seconds, which commands that run nothing do without.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import click

from affinitynet.datasets.atomic import register_atomic_file_systems
from affinitynet.errors import UserError

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing phones home; Kedro's consent lies in .telemetry
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # its database migrations log a lot
}
"""Environment variables, unless they are set; MLflow reads them when it is imported."""

PLUGIN = "kedro_mlflow.framework.cli.cli"
"""Module of kedro-mlflow's commands, which imports MLflow."""


def configure_process() -> None:
    """Set up this process of `kedro run`; calls of the library leave theirs as it is."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Stages read each other's outputs (`cam.maps`) by their namespaced names, on purpose.
    warnings.filterwarnings("ignore", message=r"One or more dataset names contain '.' characters")
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # torch's
    # A run that would read another version than it has made ends here, instead of going on with it.
    warnings.filterwarnings("error", message="Save version '.*' did not match load version")
    register_atomic_file_systems()
    logging.getLogger("kedro.pipeline.node").addFilter(_is_no_user_error)


def _is_no_user_error(_: logging.LogRecord) -> bool:
    """Leave out Kedro's record of a `UserError`, which ends the run with the same words."""
    return not isinstance(sys.exc_info()[1], UserError)


class Hooks:
    """The project's hooks, imported when a session registers them."""

    def __iter__(self) -> Iterator[Any]:
        from affinitynet.runs.hooks import RunHooks
        from affinitynet.runs.summary import RunSummary
        from affinitynet.runs.times import RunTimes
        from affinitynet.runs.tracking import RunTracking, TrackingHooks

        # the last one comes first
        return iter((RunSummary(), RunTimes(), RunHooks(), TrackingHooks(), RunTracking()))


@click.group()
def _commands() -> None:
    pass


@_commands.command(
    name="mlflow", context_settings={"ignore_unknown_options": True}, add_help_option=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def _mlflow(obj: Any, arguments: tuple[str, ...]) -> None:
    """Use mlflow-specific commands inside kedro project."""
    sys.modules.pop(PLUGIN, None)
    command = import_module(PLUGIN).mlflow_commands
    command.main([*arguments], prog_name="kedro mlflow", obj=obj)


def defer_plugin_commands() -> None:
    """Let `kedro` import kedro-mlflow's commands only when one of them is called.

    Kedro imports the commands of all plugins for each command. A module that has only a stand-in
    for `kedro mlflow` takes the place of kedro-mlflow's.
    """
    if PLUGIN not in sys.modules:
        module: Any = ModuleType(PLUGIN)
        module.commands = _commands
        sys.modules[PLUGIN] = module
