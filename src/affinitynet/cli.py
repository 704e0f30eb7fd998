"""Kedro's command line: `run` reads `--params` as declared, and `seeds` runs several times."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from affinitynet.errors import InterruptedRunError, UserError, is_disk_full
from affinitynet.runs.command_line import parse_params

GO_ON = "go on with the same command and --params resume=true (added to its other --params)."
GO_ON_SEEDS = (
    "finish seed {seed} with kedro run, the same options and --params seed={seed},resume=true "
    "(added to the other --params); then kedro seeds does the seeds that are left."
)


def _parse(_: click.Context, option: click.Parameter, value: Any) -> Any:
    return parse_params(value) if isinstance(value, str) else value  # else from a file: --config


@contextmanager
def _explained(go_on: str) -> Iterator[None]:
    """Turn Ctrl-C and a full disk into a sentence that says how to go on."""
    try:
        yield
    except (KeyboardInterrupt, InterruptedRunError) as error:
        raise InterruptedRunError(f"Interrupted. What was finished is kept: {go_on}") from error
    except Exception as error:
        if is_disk_full(error):
            raise UserError(
                "The disk is full. Make room (make clean-runs removes old runs). What was finished "
                f"is kept: {go_on}"
            ) from error
        raise


@click.group()
def cli() -> None:
    """The project's commands."""


run = copy(kedro_run)
run.params = [copy(option) for option in kedro_run.params]
for _option in run.params:
    if _option.name == "params":
        _option.callback = _parse
run.callback = _explained(GO_ON)(kedro_run.callback)  # type: ignore[type-var]
cli.add_command(run)


@click.pass_context
def _run_seeds(
    context: click.Context, /, seeds: tuple[int, ...], params: dict[str, Any], **options: Any
) -> None:
    """Run pipelines once for each seed, and report mean and standard deviation of the scores.

    MLflow shows the runs below one that has the means (cam.miou) and deviations (cam.miou.std), and
    the table for all classes as seeds.csv. All other options are those of `kedro run`.
    """
    if wrong := params.keys() & {"seed", "resume"}:
        raise UserError(f"--params {', '.join(sorted(wrong))}: not with `seeds`, see --seeds")

    from affinitynet.runs.seeds import compare_seeds  # imports MLflow

    def run_once(seed: int) -> None:
        with _explained(GO_ON_SEEDS.format(seed=seed)):
            context.invoke(run, params={**params, "seed": seed}, **options)

    compare_seeds(run_once, seeds)


def _parse_seeds(_: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return (*dict.fromkeys(int(seed) for seed in value.split(",")),)
    except ValueError as error:
        raise click.BadParameter(f"{value}: give numbers separated by commas") from error


_seeds = click.Option(
    ["--seeds"], default="0,1,2", show_default=True, callback=_parse_seeds, help="One run each."
)
_options = [_seeds, *run.params]
cli.add_command(
    click.Command("seeds", callback=_run_seeds, params=_options, help=_run_seeds.__doc__)
)
