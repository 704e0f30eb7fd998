"""Commands that run nothing do not import MLflow, which takes seconds."""

import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import click

PLUGIN = "kedro_mlflow.framework.cli.cli"
"""Module of kedro-mlflow's commands, which imports MLflow."""


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
