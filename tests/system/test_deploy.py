"""The files that hand the pipelines to Airflow and SLURM, without either of them."""

import os
import subprocess
from graphlib import TopologicalSorter

import pytest
from jinja2 import Environment

from affinitynet.pipeline_registry import register_pipelines
from tests.conftest import PROJECT

DEPLOY = PROJECT / "deploy"
STAGES = ["cam", "affinity_labels", "affinity_training", "revision", "segmentation"]


def test_the_dag_of_airflow_is_up_to_date():
    """If not, generate it again (docs/deploying.md)."""
    template = (DEPLOY / "airflow/dag.py.j2").read_text()
    dag = Environment(autoescape=True, lstrip_blocks=True).from_string(template)  # as kedro-airflow
    groups = register_pipelines()["__default__"].group_nodes_by("namespace")
    made = dag.render(dag_name="affinitynet", env="local", node_objs=groups)
    assert (DEPLOY / "airflow/affinitynet_dag.py").read_text() == made
    compile(made, "affinitynet_dag.py", "exec")
    order = TopologicalSorter({group.name: group.dependencies for group in groups}).static_order()
    assert [name for name in order if name in STAGES] == STAGES


@pytest.fixture
def run(tmp_path):
    """Run a script where `sbatch`, `kedro`, … only note how they were called."""
    calls = tmp_path / "calls"

    def run(script, *arguments, status=0, **environment):
        for name in ("sbatch", "kedro", "srun"):
            command = tmp_path / name
            command.write_text(
                f'#!/bin/sh\necho {name} "$@" >> {calls}\nwc -l < {calls}\nexit {status}\n'
            )
            command.chmod(0o755)
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            [DEPLOY / "slurm" / script, *arguments],
            cwd=tmp_path,
            env=os.environ | path | environment,
            check=False,
        )
        return done.returncode, calls.read_text().splitlines()

    return run


def test_slurm_runs_the_stages_one_after_the_other(run):
    status, calls = run("stages.sh", "voc_root=/voc", "--env", "voc")
    assert status == 0
    stages = [call.split("--pipeline ")[1].split()[0] for call in calls]
    assert [stage for stage in stages if stage in STAGES] == STAGES
    assert set(stages) < register_pipelines().keys()
    assert "--dependency" not in calls[0]
    for number, call in enumerate(calls[1:], start=1):
        assert f"--dependency=afterok:{number} " in call
        assert "deploy/slurm/run.sh voc_root=/voc --pipeline" in call
        assert call.endswith(" --env voc")


def test_a_job_of_slurm_that_is_queued_again_resumes(run):
    arguments = ("run.sh", "seed=1", "--pipeline", "cam")
    assert run(*arguments) == (0, ["kedro run --pipeline cam --params seed=1"])
    status, calls = run(*arguments, status=3, SLURM_RESTART_COUNT="1")
    assert (status, calls[1]) == (3, "kedro run --pipeline cam --params seed=1,resume=true")
