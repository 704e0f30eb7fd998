"""The engine `ray`, on clusters of this machine that nothing outside it can reach."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

pytest.importorskip("ray", reason='needs Ray: pip install "affinitynet[cluster]"')

PROJECT = Path(__file__).parents[2]


# Ray would listen on every interface, and leaves processes behind where it is not stopped in order:
# a namespace of networks, and one of processes, all of which end with the first.
ALONE = ["unshare", "--user", "--map-root-user", "--net"]
ALONE += ["--pid", "--fork", "--kill-child", "--mount-proc"]
ALONE += ["sh", "-c", 'ip link set lo up && "$@"; exit $?', "-"]


def run_alone(*command, needs="true"):
    """Run a Python command in namespaces of its own; skip where `needs`, a shell's, fails there."""
    probe = [*ALONE, "sh", "-c", needs]
    if not which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow the namespaces that it needs")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    token |= {"RAY_worker_niceness": "0"}  # it is 15, which the other tests would starve
    done = subprocess.run(
        [*ALONE, sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | token,
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_a_cluster_does_the_same_and_survives_its_losses(finished_copy, tmp_path):
    """Two nodes: killed processes, training, the pipelines' per-image nodes, a killed node."""
    run_alone("-m", "tests.system.on_two_nodes", tmp_path, finished_copy.folder)


@pytest.mark.long
def test_a_host_that_is_cut_off_costs_its_unfinished_work():
    """Three hosts, each a network namespace: one is lost while two train, one among images."""
    cable = "ip link add one type veth peer name other"
    forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    run_alone("-m", "tests.system.cut_off", needs=f"{cable} && {forward} && nsenter --version")


@pytest.mark.long
def test_what_a_cluster_cannot_give_is_reported_at_once():
    """Three nodes: processes that none of them can hold, and networks that would share a GPU."""
    run_alone("-m", "tests.system.on_uneven_nodes")


def test_a_cluster_that_does_not_answer_is_named():
    done = run_alone(
        "-c",
        "from affinitynet.execution import Execution, map_images\n"
        "try: [*map_images(abs, [('a', 1)], total=1, execution=Execution(engine='ray', "
        "address='127.0.0.1:1'))]\n"
        "except Exception as error: print(type(error).__name__, error)",
    )
    assert "UserError execution.address is '127.0.0.1:1', but no Ray cluster answers" in done
