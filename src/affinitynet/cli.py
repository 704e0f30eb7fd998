"""Kedro's command line, with `--params` read by what each parameter is declared as."""

from copy import copy
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from affinitynet.runs.command_line import parse_params


def _parse(_: click.Context, option: click.Parameter, value: Any) -> Any:
    return parse_params(value) if isinstance(value, str) else value  # else from a file: --config


@click.group()
def cli() -> None:
    """The project's commands."""


run = copy(kedro_run)
run.params = [copy(option) for option in kedro_run.params]
for _option in run.params:
    if _option.name == "params":
        _option.callback = _parse
cli.add_command(run)
