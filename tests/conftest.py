"""Runs of the real project in its `test` environment, on rendered scenes of their own."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # tiny tensors: threads only get in the way
    os.environ[_name] = "1"
os.environ["DO_NOT_TRACK"] = "1"
os.environ.pop("KEDRO_ENV", None)

import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import omegaconf.base
import pytest
from filelock import FileLock
from kedro.framework.startup import bootstrap_project
from omegaconf import OmegaConf
from sqlalchemy import event
from sqlalchemy.engine import Engine

from affinitynet.datasets import register_atomic_file_systems
from affinitynet.runs.session import RunSession
from tests.warm import WarmProcess

register_atomic_file_systems()  # as in a process of `kedro run`

PROJECT = Path(__file__).parents[1]


def parse_once(load):
    """`OmegaConf.load` that parses a text once: every session reads the whole configuration."""
    parsed = cache(lambda text: pickle.dumps(load(StringIO(text))))
    return lambda file: pickle.loads(parsed(file.read()))  # a fifth of what copies take


OmegaConf.load = parse_once(OmegaConf.load)
omegaconf.base.parse = cache(omegaconf.base.parse)  # the same for interpolations

os.sync = lambda: None  # no test has a power failure


@event.listens_for(Engine, "connect")
def _trust_in_power(connection, _):
    connection.execute("pragma synchronous = off")


bootstrap = cache(bootstrap_project)
"""Read the project's settings, once a process: dynaconf looks at the whole stack of calls."""

SCORED = ("cam", "affinity_labels", "revision", "segmentation")
IN_PROCESS = {"execution.workers": 1}
"""In every environment: other processes take longer to start than their work takes."""


def all_but_export():
    """Nodes of the default pipeline without the export, whose ONNX graph takes half the time."""
    from affinitynet.pipeline_registry import register_pipelines  # imports all pipelines

    names = [node.name for node in register_pipelines()["__default__"].nodes]
    return [name for name in names if not name.startswith("export.")]


@dataclass(frozen=True)
class Project:
    """The project with data and MLflow store in a folder of the test's own."""

    folder: Path
    env: str = "test"

    @property
    def data(self):
        return self.folder / "data"

    @property
    def records(self):
        """Paths of the run records, oldest first."""
        return sorted((self.data / "08_reporting/runs").glob("*.json"))

    def record(self):
        """The newest run record."""
        return json.loads(self.records[-1].read_text())

    def metrics(self):
        """The newest scores of each stage."""
        pattern = "08_reporting/*/{}/metrics.json/*/metrics.json"
        return {
            stage: json.loads(max(self.data.glob(pattern.format(stage))).read_text())
            for stage in SCORED
        }

    def query(self, statement):
        """Ask the MLflow database."""
        with sqlite3.connect(self.folder / "mlflow.db") as connection:
            return connection.execute(statement).fetchall()

    def parameters(self, **parameters):
        return {
            "data": str(self.data),
            "mlflow_db": str(self.folder / "mlflow.db"),
            "mlflow_artifacts": str(self.folder / "artifacts"),
            **parameters,
        }

    def session(self, *, env="test", parameters=None):
        """A session; `parameters` by their full names."""
        bootstrap(PROJECT)
        nested = {}
        for name, value in self.parameters(**IN_PROCESS | (parameters or {})).items():
            *path, last = name.split(".")
            level = nested
            for key in path:
                level = level.setdefault(key, {})
            level[last] = value
        return RunSession.create(PROJECT, env=env, runtime_params=nested)

    def run(self, *pipelines, env="test", parameters=None, **options):
        """Run pipelines in this process."""
        with self.session(env=env, parameters=parameters) as session:
            return session.run(pipeline_names=[*pipelines] or None, **options)

    def catalog(self, *, env="test", parameters=None):
        return self.session(env=env, parameters=parameters).load_context().catalog

    def options(self, *options, env="test", parameters=None):
        """The options of `kedro run` for this project."""
        parameters = self.parameters(**IN_PROCESS | (parameters or {}))
        given = ",".join(f"{name}={value}" for name, value in parameters.items())
        return ["--env", env, *options, "--params", given]

    def start(self, *options, stdout=subprocess.PIPE, **kwargs):
        """Start `kedro run` in a process of its own."""
        return WarmProcess(["run", *self.options(*options, **kwargs)], stdout=stdout)

    def copy(self, folder):
        """A copy of all that there is, in which nothing points back to the original."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        with sqlite3.connect(folder / "mlflow.db") as connection:
            columns = (
                ("experiments", "artifact_location"),
                ("runs", "artifact_uri"),
                ("params", "value"),
            )
            for table, name in columns:
                connection.execute(
                    f"update {table} set {name} = replace({name}, ?, ?)",
                    (str(self.folder), str(folder)),
                )
        for path in folder.glob("data/08_reporting/runs/*.json"):
            path.write_text(path.read_text().replace(str(self.folder), str(folder)))
        return Project(folder)


class SharedProject(Project):
    """A project that no test changes: its catalog is built once, which takes a second."""

    @cache  # noqa: B019  (few projects, that are there for the whole session)
    def catalog(self, *, env="test"):
        return super().catalog(env=env)


def pytest_collection_modifyitems(config, items):
    """Deal the long tests out to pytest's processes as their first, so that none ends alone.

    One of them makes `finished_run` meanwhile; the others begin with tests that need none.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    long.sort(key=lambda item: "finished_run" in item.fixturenames)
    long = long[-1:] + long[:-1]
    others = [item for item in items if not item.get_closest_marker("long")]
    some = -(-len(others) // processes)
    items[:] = [
        item
        for number in range(processes)
        for item in (*long[number::processes], *others[number * some :][:some])
    ]


@pytest.fixture(autouse=True)
def _no_mlflow_run_is_left():
    """A run that failed in a hook stays active, and the next one would take it for its own."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.end_run()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A function that fills a folder of this name once for all workers of pytest-xdist.

    The worker that asks first does it; the others wait for it. No test may change the folder.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent

    def made_once(name, fill):
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made_once


@pytest.fixture(scope="session")
def empty_project(made_once):
    """A project that has never been run; not to be changed. MLflow's tables, which take long."""
    return SharedProject(made_once("empty", lambda folder: Project(folder).catalog()))


@pytest.fixture
def project(empty_project, tmp_path):
    """A project that has never been run."""
    bootstrap(PROJECT)  # a test may look at the pipelines before it makes a session
    return empty_project.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def finished_run(empty_project, made_once):
    """A project after one whole run; not to be changed."""
    return SharedProject(made_once("finished", lambda folder: empty_project.copy(folder).run()))


@pytest.fixture
def finished_copy(finished_run, tmp_path):
    """A copy of the finished project, to be changed at will."""
    return finished_run.copy(tmp_path / "copy")
