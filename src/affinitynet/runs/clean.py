"""List and remove what old runs have made: `python -m affinitynet.runs.clean --keep 3`.

Never removed are: what the newest runs have made and read; what the newest run of each environment
and pipelines has, whether finished or to be resumed; and the newest complete version of each
output.
"""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich import get_console
from rich.filesize import decimal
from rich.table import Table

from affinitynet.runs.record import RunRecord, read_records

VERSION = r"\d{4}-\d\d-\d\dT[\d.]+Z"
"""Kedro's names of versions."""
MARKER = "*.complete.json"
"""What lies in the version folder of a complete output of many files."""


def list_kept(records: Iterable[RunRecord], keep: int) -> set[str]:
    """List the versions that the runs to keep have made or read.

    Args:
        records: Of all runs, newest first.
        keep: Finished runs of each environment to keep.
    """
    finished: dict[str, int] = defaultdict(int)
    newest = set()
    kept: set[str] = set()
    for run in records:
        kind = (run.env, *sorted(run.pipelines), run.finished is None)
        if kind not in newest or (run.finished and finished[run.env] < keep):
            kept |= {run.version, *run.inputs.values()}
        newest.add(kind)
        finished[run.env] += run.finished is not None
    return kept


def list_removable(data: Path, kept: set[str]) -> list[Path]:
    """List the folders of versions below a data folder that may be removed, oldest first.

    Args:
        data: Folder of everything that runs read and make.
        kept: Versions to keep, from `list_kept`.
    """
    removable = []
    for folders in _versions(data):
        complete = [folder for folder in folders if _is_complete(folder)]
        safe = {*folders[-1:], *complete[-1:]}
        removable += [each for each in folders if each.name not in kept and each not in safe]
    return sorted(removable, key=lambda folder: (folder.name, folder))


def _versions(data: Path) -> Iterator[list[Path]]:
    """Find the version folders of each output, oldest first. Links are not followed."""
    for path, folders, _ in os.walk(data):
        versions = [name for name in sorted(folders) if re.fullmatch(VERSION, name)]
        folders[:] = [name for name in folders if name not in versions]
        found = [Path(path, name) for name in versions]
        if found:
            yield [folder for folder in found if not folder.is_symlink()]


def _is_complete(folder: Path) -> bool:
    """Whether a version has its marker, or is a single file, which appears only when complete."""
    entries = [*folder.iterdir()]
    return any(entry.match(MARKER) for entry in entries) or (
        len(entries) == 1 and entries[0].is_file()
    )


def _size(folder: Path) -> int:
    return sum(
        os.lstat(Path(path, name)).st_size for path, _, names in os.walk(folder) for name in names
    )


@click.command("clean-runs")
@click.option("--data", default="data", show_default=True, help="Folder of what runs make.")
@click.option("--keep", default=3, show_default=True, help="Finished runs of each environment.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def clean_runs(data: str, keep: int, yes: bool) -> None:
    """List what old runs have made, and remove it if you say so."""
    folder = Path(data).expanduser()
    if keep < 1:
        raise click.BadParameter(f"{keep}: keep at least 1 run", param_hint="--keep")
    if "://" in data or not folder.is_dir():
        raise click.BadParameter(f"{data}: no folder of this machine", param_hint="--data")
    records = read_records(str(folder / "08_reporting" / "runs"))
    removable = list_removable(folder, list_kept(records, keep))
    if not removable:
        click.echo(f"Nothing to remove: {folder} has no version that no kept run made or read.")
        return
    table = Table("run", "outputs", "size", box=None)
    by_run: dict[str, list[int]] = defaultdict(list)
    for version in removable:
        by_run[version.name].append(_size(version))
    for name, sizes in by_run.items():
        table.add_row(name, str(len(sizes)), decimal(sum(sizes)))
    get_console().print(table)
    total = decimal(sum(map(sum, by_run.values())))
    if yes or click.confirm(f"Remove these {len(removable)} folders, {total}?"):
        for version in removable:
            shutil.rmtree(version)
        for run in records:
            if run.version in by_run and not run.finished:
                run.forget(str(folder / "08_reporting" / "runs"))  # it cannot be resumed
        click.echo(f"Removed {total}.")


if __name__ == "__main__":
    clean_runs()
