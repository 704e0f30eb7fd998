"""The pipelines on several processes of this machine."""

import signal
import time

import psutil

CHECKPOINTS = "06_models/test/cam/checkpoints/*/checkpoints/*.pt"


def test_a_training_process_that_is_killed_ends_a_run_that_can_be_resumed(finished_copy):
    parameters = {"execution.devices": 2, "cam.training.epochs": 20}
    before = {*finished_copy.data.glob(CHECKPOINTS)}
    process = finished_copy.start("--pipeline", "cam", parameters=parameters)
    deadline = time.monotonic() + 120
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
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "A training process died" in said
    assert "--params resume=true" in said
    assert "Traceback" not in said.split("A training process died")[-1]
    assert not finished_copy.record()["finished"]

    finished_copy.run("cam", parameters=parameters | {"resume": True})
    assert finished_copy.record()["finished"]
    history = max(finished_copy.data.glob("08_reporting/test/cam/history.csv/*/history.csv"))
    epochs = [line.split(",")[0] for line in history.read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(1, 21)]
