"""Runs of the real project in its `test` environment, on rendered scenes of their own."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # tiny tensors: threads only get in the way
    os.environ[_name] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Project:
    """The project with data and MLflow store in a folder of the test's own."""

    folder: Path
    env: str = "test"

    @property
    def data(self):
        return self.folder / "data"

    @property
    def database(self):
        return self.folder / "mlflow.db"

    def parameters(self, **parameters):
        return {
            "data": str(self.data),
            "mlflow_db": str(self.database),
            "mlflow_artifacts": str(self.folder / "artifacts"),
            **parameters,
        }

    def run(self, *pipelines, env=None, parameters=None, **options):
        """Run pipelines in this process; `parameters` by their full names."""
        bootstrap_project(PROJECT)
        nested = {}
        for name, value in self.parameters(**(parameters or {})).items():
            *path, last = name.split(".")
            level = nested
            for key in path:
                level = level.setdefault(key, {})
            level[last] = value
        with KedroSession.create(PROJECT, env=env or self.env, runtime_params=nested) as session:
            return session.run(pipeline_names=[*pipelines] or None, **options)

    def catalog(self, env=None):
        bootstrap_project(PROJECT)
        session = KedroSession.create(
            PROJECT, env=env or self.env, runtime_params=self.parameters()
        )
        return session.load_context().catalog

    def command(self, *options, parameters=None, env=None):
        """The `kedro run` command line with these options."""
        told = ",".join(f"{k}={v}" for k, v in self.parameters(**(parameters or {})).items())
        kedro = [sys.executable, "-m", "kedro", "run", "--env", env or self.env]
        return [*kedro, *options, "--params", told]

    def kedro(self, *options, **kwargs):
        """Run `kedro run` as a user would."""
        return subprocess.run(
            self.command(*options, **kwargs), cwd=PROJECT, capture_output=True, text=True
        )

    def copy(self, folder):
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Project(Path(folder))


@pytest.fixture
def project(tmp_path):
    """A project that has never been run."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A project after one whole run; not to be changed."""
    project = Project(tmp_path_factory.mktemp("finished"))
    project.run()
    return project


@pytest.fixture
def finished_copy(finished_run, tmp_path):
    """A copy of the finished project, to be changed at will."""
    return finished_run.copy(tmp_path / "copy")
