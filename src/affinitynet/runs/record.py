"""The record of a run: what ran, with which parameters, code and inputs, and whether it ended."""

import glob
import hashlib
import json
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fsspec.core import url_to_fs
from pydantic import TypeAdapter

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]

SCHEMA = 1
"""Number of the records' form: it grows when an older version could not read a record rightly."""


@dataclass(frozen=True)
class RunRecord:
    """One run, as written to `<data>/08_reporting/runs/<version>.json`.

    Attributes:
        version: Version of everything that the run makes: its start, as Kedro writes timestamps.
        env: Configuration environment.
        pipelines: Names of the pipelines asked for.
        nodes: Names of the nodes that the whole run consists of.
        parameters: All parameters, flat (`cam.training.epochs`).
        code: Fingerprint of the package's sources.
        git: Git revision, with `-dirty` if files differ from it; empty outside a repository.
        inputs: Versions of the inputs by catalog name; fingerprints of the user's own folders.
        outputs: Catalog names of the versioned outputs.
        skipped: Node name to the images that it left out, as processes died over them.
        mlflow_run: Id of the MLflow run.
        finished: When the run ended successfully; None for an unfinished run.
        process: Host and id of the process that it runs in, for messages.
        work: Node name to the amount of its work, see `affinitynet.runs.times`.
        estimated: Node name to the seconds that it was expected to take.
        seconds: Node name to the seconds that it took.
        schema: `SCHEMA` of the version that wrote it.
    """

    version: str
    env: str
    pipelines: list[str]
    nodes: list[str]
    parameters: dict[str, Any]
    code: str
    git: str
    inputs: dict[str, str]
    outputs: list[str]
    skipped: dict[str, list[str]] = field(default_factory=dict)
    mlflow_run: str | None = None
    finished: str | None = None
    process: str = ""
    work: dict[str, float] = field(default_factory=dict)
    estimated: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def started(self) -> datetime:
        """When the run began."""
        return datetime.strptime(self.version, "%Y-%m-%dT%H.%M.%S.%fZ").replace(tzinfo=UTC)

    def write(self, folder: str) -> None:
        """Write the record to its file, atomically (see `affinitynet.datasets.atomic`)."""
        files, root = url_to_fs(folder)
        files.makedirs(root, exist_ok=True)
        with files.open(f"{root}/{self.version}.json", "w") as file:
            file.write(json.dumps(asdict(self), indent=2))

    def forget(self, folder: str) -> None:
        """Remove the record's file, if there is one."""
        files, root = url_to_fs(folder)
        if files.exists(path := f"{root}/{self.version}.json"):
            files.rm(path)

    def skipping(self, node: str, *images: str) -> Self:
        """Return the record of the same run, in which a node left out these images."""
        others = {name: ids for name, ids in self.skipped.items() if name != node}
        return replace(self, skipped=others | {node: [*images]} if images else others)

    def finish(self) -> Self:
        """Return the record of the same run, ended now."""
        return replace(self, finished=datetime.now(UTC).isoformat(timespec="seconds"))

    def differences(self, other: Self) -> list[str]:
        """Name what keeps `other` from continuing this run, one line each; empty if nothing does.

        Args:
            other: The record that the same command gives now.
        """
        lines = [
            f"parameter {name}: was {self.parameters.get(name)!r}, "
            f"is {other.parameters.get(name)!r}"
            for name in sorted(self.parameters.keys() | other.parameters.keys())
            if self.parameters.get(name) != other.parameters.get(name)
        ]
        if self.code != other.code:
            was, now = (f"{run.code} (git {run.git or 'unknown'})" for run in (self, other))
            lines.append(f"code: was {was}, is {now}")
        lines += [
            f"input {name}: was {self.inputs.get(name)}, is {other.inputs.get(name)}"
            for name in sorted(self.inputs.keys() | other.inputs.keys())
            if self.inputs.get(name) != other.inputs.get(name)
        ]
        if self.nodes != other.nodes:
            changed = sorted(set(self.nodes) ^ set(other.nodes))
            lines.append(
                f"pipeline: was {', '.join(self.pipelines)}, is {', '.join(other.pipelines)} "
                f"(nodes in only one of them: {', '.join(changed)})"
            )
        return lines


def read_records(folder: str) -> list[RunRecord]:
    """Read the records of all runs, newest first; what is no record is named and left out."""
    files, root = url_to_fs(folder)
    records = []
    for path in sorted(files.glob(f"{glob.escape(root)}/*.json"), reverse=True):
        try:
            records.append(_parse(files.cat_file(path)))
        except (OSError, ValueError) as error:
            logger.warning("The run record %s is left out: %s", path, str(error).splitlines()[0])
    return records


def read_record(folder: str, version: str) -> RunRecord:
    """Read the record of one run."""
    files, root = url_to_fs(folder)
    return _parse(files.cat_file(f"{root}/{version}.json"))


def _parse(content: bytes) -> RunRecord:
    fields = json.loads(content)
    schema = fields.get("schema", 0) if isinstance(fields, dict) else None
    if not isinstance(schema, int):
        raise ValueError("it is no run record")
    if schema > SCHEMA:
        raise ValueError(f"a newer version wrote it (schema {schema}; this one reads {SCHEMA})")
    return TypeAdapter(RunRecord).validate_python(fields)


def code_fingerprint() -> str:
    """Hash the package's sources: equal exactly if the code that runs is the same."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def git_revision(folder: Path) -> str:
    """Describe the git revision of a folder: `1a2b3c4`, `1a2b3c4-dirty`, or empty without git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested parameters: `{"cam": {"alpha": 4}}` becomes `{"cam.alpha": 4}`."""
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def unite(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested parameters; those of `above` have precedence."""
    return {**below} | {
        name: unite(below[name], value)
        if isinstance(value, Mapping) and isinstance(below.get(name), Mapping)
        else value
        for name, value in above.items()
    }
