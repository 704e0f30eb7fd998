"""The command `affinitynet`, also `python -m affinitynet`: for where no project is.

`affinitynet run` is `kedro run` with the configuration that the package carries; its outputs
lie in the current folder. `affinitynet new` makes a project, which has a configuration of its own.
"""

import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from kedro.utils import find_kedro_project

from affinitynet import __version__
from affinitynet.errors import UserError
from affinitynet.platforms import check_platform

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE / "project"
"""Files of a new project; in a checkout, links to those of this one."""


def main(*args: str) -> None:
    """Run a command; options without one are those of `run`, as Kedro's packages take them.

    Args:
        *args: Command and options; by default those of the command line.
    """
    arguments = [*args] or sys.argv[1:]
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("--help", "--version"):
        arguments = ["run", *arguments]
    cli(arguments, prog_name=PACKAGE.name)


@click.group()
@click.version_option(__version__)
def cli() -> None:
    """Weakly supervised semantic segmentation: photos with tags go in, masks come out."""


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def run(options: tuple[str, ...]) -> None:
    """Run pipelines, with the options of `kedro run`.

    The configuration is that of the project around the current folder, else the package's.
    """
    _execute("run", options)


@cli.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def seeds(options: tuple[str, ...]) -> None:
    """Run pipelines once for each seed, and report mean and spread of the scores."""
    _execute("seeds", options)


def _execute(command: str, options: tuple[str, ...]) -> None:
    """Execute one of the project's commands where a project is, else on the package's."""
    check_platform()
    folder = find_kedro_project(Path.cwd())
    if folder and (package := _package_of(folder)) != PACKAGE.name:
        raise UserError(
            f"{folder} is the project of another package, {package}; run affinitynet elsewhere, "
            "or make a project with: affinitynet new <folder>"
        )
    configuration = (folder or PROJECT) / "conf"
    if (logging := configuration / "logging.yml").exists():
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(logging))  # read at the next import
    defaults: dict[str, Any] = {} if folder else {"conf_source": str(configuration)}

    from kedro.framework.project import configure_project
    from kedro.framework.startup import bootstrap_project

    if folder:
        bootstrap_project(folder)
    configure_project(PACKAGE.name)

    from affinitynet.cli import cli as commands  # after the project is configured

    commands.commands[command].main(
        [*options], prog_name=f"{PACKAGE.name} {command}", default_map=defaults
    )


def _package_of(project: Path) -> str:
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["kedro"]["package_name"])


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Make a project in FOLDER: the configuration to edit, notebooks, a place for data."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there is something already; name a new folder")
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    (folder / "gitignore").rename(folder / ".gitignore")
    click.echo(f"Made {folder}. Now: cd {folder} && kedro run")


if __name__ == "__main__":
    main()
