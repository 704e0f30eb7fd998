"""Killed at any moment, a run goes on with `resume=true` and ends with the same numbers."""

import json
import signal
import subprocess
import time

import pytest
from tests.conftest import PROJECT

from affinitynet.errors import UserError

METRICS = ("cam", "affinity_labels", "revision", "segmentation")


def kill_when(project, pattern, count):
    """Start the whole run and kill it with SIGKILL once so many files are there."""
    process = subprocess.Popen(
        project.command(), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(project.data.glob(pattern))) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, f"never saw {count} of {pattern}"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("06_models/test/cam/checkpoints/*/checkpoints/*.pt", 1),  # between two epochs
        ("05_model_input/test/affinity_labels/labels/*/labels/*.png", 1),  # within a stage
        ("04_feature/test/revision/maps/*/maps.complete.json", 1),  # between two stages
    ],
)
def test_a_killed_run_goes_on_to_the_same_scores(project, finished_run, pattern, count):
    kill_when(project, pattern, count)
    made = {path: path.stat().st_mtime_ns for path in project.data.rglob("*.json")}
    result = project.kedro(parameters={"resume": "true"})
    assert result.returncode == 0, result.stderr
    assert "Resuming the run" in result.stdout + result.stderr
    (record,) = (project.data / "08_reporting/runs").iterdir()
    assert json.loads(record.read_text())["finished"]
    for stage in METRICS:
        name = f"{stage}.metrics"
        assert project.catalog().load(name) == finished_run.catalog().load(name)
    for path, moment in made.items():  # nothing finished was made again
        assert path == record or path.stat().st_mtime_ns == moment


def interrupt(project, node="affinity_labels.label"):
    """Leave an unfinished run: it fails at a node whose parameter makes no sense."""
    with pytest.raises(ValueError, match="confidence"):
        project.run(parameters={"revision.confidence": 2})


def test_what_differs_is_named(project):
    interrupt(project)
    with pytest.raises(UserError, match=r"revision.confidence: was 2, is 0.7"):
        project.run(parameters={"resume": True})


def test_an_unfinished_version_is_never_read(finished_copy):
    labels = finished_copy.catalog().load("revision.labels")
    with pytest.raises(ValueError, match="confidence"):
        finished_copy.run("revision", parameters={"revision.confidence": 2})
    assert finished_copy.catalog().load("revision.labels").keys() == labels.keys()


def test_newer_inputs_are_another_run(finished_copy):
    with pytest.raises(ValueError, match="confidence"):
        finished_copy.run("revision", parameters={"revision.confidence": 2})
    finished_copy.run("affinity_training")
    with pytest.raises(UserError, match=r"input affinity_training.model: was .*, is "):
        finished_copy.run("revision", parameters={"revision.confidence": 2, "resume": True})


def test_nothing_to_resume_is_said(project):
    with pytest.raises(UserError, match="no unfinished run"):
        project.run(parameters={"resume": True})


def test_inputs_that_were_never_made_name_their_command(project):
    with pytest.raises(UserError, match=r"cam.maps: .* kedro run --env test --pipeline cam"):
        project.run("revision")
    assert not (project.data / "08_reporting").exists()


def test_a_run_that_made_nothing_is_forgotten(project):
    with pytest.raises(UserError, match="problems with the data set"):
        project.run(env="voc_cpu", parameters={"voc_root": "/nowhere"})
    assert not list((project.data / "08_reporting/runs").iterdir())
