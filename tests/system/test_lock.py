"""The lock of a run on a file system: it ends with the process that holds it."""

import subprocess
import sys

import pytest

from affinitynet.runs.lock import IsHeldError, acquire

HOLD = """
import sys, time
from affinitynet.runs.lock import IsHeldError, acquire
try:
    acquire(*sys.argv[1:])
    print("held", flush=True)
    time.sleep(600)
except IsHeldError:
    print("refused", flush=True)
"""


def hold(folder, name="run"):
    """Try to hold a lock in another process; return the process, and `held` or `refused`."""
    command = [sys.executable, "-c", HOLD, str(folder), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_one_process_holds_a_lock_until_it_ends(tmp_path):
    first, output = hold(tmp_path)
    assert output == "held"
    second, output = hold(tmp_path)
    assert output == "refused"
    assert second.wait() == 0
    with pytest.raises(IsHeldError):
        acquire(str(tmp_path), "run")
    acquire(str(tmp_path), "another run").release(remove=True)
    first.kill()
    first.wait()
    lock = acquire(str(tmp_path), "run")  # nothing of the dead process is in the way
    assert acquire(str(tmp_path), "run") is lock  # an interrupted run's in the same process
    lock.check()
    lock.release(remove=False)
    third, output = hold(tmp_path)
    assert output == "held"
    third.kill()
    third.wait()
    acquire(str(tmp_path), "run").release(remove=True)
    assert not [*tmp_path.iterdir()]
