"""The pipelines on several processes of this machine."""

import os
import random
import signal
import time
from functools import partial

import psutil
import pytest

from affinitynet.execution import ItemHandlers, item_handlers
from affinitynet.pipelines import per_image

CHECKPOINTS = "06_models/test/cam/checkpoints/*/checkpoints/*.pt"


@pytest.mark.long
def test_training_goes_on_when_one_of_its_processes_is_killed(finished_copy):
    parameters = {"execution.devices": 2, "cam.training.epochs": 4}
    before = {*finished_copy.data.glob(CHECKPOINTS)}
    process = finished_copy.start("--pipeline", "cam", parameters=parameters)
    deadline = time.monotonic() + 600
    while not {*finished_copy.data.glob(CHECKPOINTS)} - before:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "--process-name" in child.cmdline()
    ]
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "goes on from its last epoch" in " ".join(output.split())
    history = max(finished_copy.data.glob("08_reporting/test/cam/history.csv/*/history.csv"))
    epochs = [line.split(",")[0] for line in history.read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(1, 5)]


WORK = {
    "cam.infer": "_do_share",
    "affinity_labels.label": "_read_and_do",
    "revision.walk": "_do_share",
    "revision.refine": "_read_and_do",
    "segmentation.predict": "_do_share",
}
"""Node -> what its workers call."""


def die_or_work(work, died, calls, *arguments, **options):
    """Do a node's work, but be killed once, at a call that is drawn."""
    if not died.exists() and random.random() < 1 / calls:
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*arguments, **options)


def test_a_worker_that_is_killed_changes_no_image(finished_copy, monkeypatch, tmp_path):
    """In a node that is drawn; `NODE=revision.walk pytest …` tries a certain one."""
    node = os.environ.get("NODE") or random.choice([*WORK])
    name = WORK[node]
    calls = 4 if name == "_read_and_do" else 1  # of a dozen images, or one share of them
    crashing = partial(die_or_work, getattr(per_image, name), tmp_path / "died", calls)
    monkeypatch.setattr(per_image, name, crashing)
    processes = {"execution.workers": 2, "execution.devices": 2}
    before = outputs_per_image(finished_copy)
    finished_copy.run(node_names=[node], parameters=processes)
    after = outputs_per_image(finished_copy)
    assert calls > 1 or (tmp_path / "died").exists()
    assert after
    assert after.items() <= before.items()
    assert not finished_copy.record()["skipped"]


def outputs_per_image(project):
    """Maps, labels and predictions of the newest version: path without the version -> bytes."""
    version = project.record()["version"]
    return {
        str(path.relative_to(project.data)).replace(version, ""): path.read_bytes()
        for layer in ("04_feature", "05_model_input", "07_model_output")
        for path in (project.data / layer).rglob(f"*/{version}/*/*")
    }


def test_what_is_called_by_hand_after_a_run_saves_nothing_in_it(finished_copy):
    finished_copy.run(node_names=["cam.infer"])
    assert item_handlers() == ItemHandlers()
