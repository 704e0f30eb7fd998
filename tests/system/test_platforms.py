"""Machines that this is not one of: macOS and Windows are simulated, as far as that goes."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import loky
import pytest

from affinitynet.__main__ import main
from affinitynet.execution import Execution
from affinitynet.execution.parameters import cores
from affinitynet.networks.checkpoint import initialise
from affinitynet.training import loop
from tests.conftest import PROJECT
from tests.unit.training.test_loop import CONFIG, PARAMETERS, assert_same, run


def test_cores_are_counted_where_there_are_no_affinities(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert 1 <= cores() <= os.cpu_count()


def test_cores_are_those_of_the_containers_quota(monkeypatch):
    monkeypatch.setattr(loky.backend.context, "_cpu_count_cgroup", lambda count: 1)
    assert cores() == 1
    assert Execution(workers=0).processes == 1


def test_samples_are_prepared_in_processes_that_are_not_forked(monkeypatch):
    initial = initialise(CONFIG, seed=0)
    parameters = replace(PARAMETERS, epochs=1, workers=1)
    (forked,) = run(initial, parameters)
    monkeypatch.setattr(loop, "WORKERS", "spawn")
    (spawned,) = run(initial, parameters)
    assert_same(forked, spawned)


def test_windows_is_refused_with_what_to_use_instead(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as exit_:
        main("run")
    assert exit_.value.code == 1
    assert "On Windows use WSL" in capsys.readouterr().err


def test_a_locale_of_another_encoding_is_refused_at_the_start(tmp_path):
    latin = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    options = ["--env", "test", "--params", f"data={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", *options],
        cwd=PROJECT,
        env=os.environ | latin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"set PYTHONUTF8=1" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE"])
def test_onednn_held_to_less_is_noticed(limit):
    """In a process of its own, as oneDNN reads the limit once."""
    code = (
        "import json, torch; from affinitynet.networks.precision import uses_bfloat16;"
        "print(json.dumps(uses_bfloat16('auto', torch.device('cpu'))))"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) is False
