"""The lease of a run in an object store: one holds it, and it ends unless it is renewed."""

import time

import fsspec
import pytest

from affinitynet.errors import UserError
from affinitynet.runs import lock as lock_module
from affinitynet.runs.lock import IsHeldError, acquire

FOLDER = "memory://locks"


@pytest.fixture
def store(monkeypatch):
    """An object store, where leases are short."""
    for name, seconds in (("RENEWAL", 0.05), ("EXPIRY", 1), ("SETTLING", 0.1)):
        monkeypatch.setattr(lock_module, name, seconds)
    files = fsspec.filesystem("memory")
    yield files
    if files.exists("/locks"):
        files.rm("/locks", recursive=True)


def forget_held():
    """What this process holds is another host's from now on."""
    lock_module._held.clear()


def test_a_lease_that_is_renewed_is_held(store):
    lease = acquire(FOLDER, "run")
    forget_held()
    with pytest.raises(IsHeldError):
        acquire(FOLDER, "run")
    lease.check()
    lease.release(remove=False)
    acquire(FOLDER, "run").release(remove=True)
    assert not store.find("/locks")


def test_a_lease_that_is_renewed_no_more_is_taken_over_and_its_holder_is_reported(store):
    lease = acquire(FOLDER, "run")
    lease._end.set()  # its host is cut off
    lease._thread.join()
    forget_held()
    began = time.monotonic()
    other = acquire(FOLDER, "run")
    assert time.monotonic() - began > lock_module.EXPIRY
    lease._end.clear()
    lease._keep()  # it is back
    with pytest.raises(UserError, match="Another process has taken this run over"):
        lease.check()
    lease.release(remove=False)
    other.check()
    other.release(remove=False)


def test_a_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(store, monkeypatch):
    lease = acquire(FOLDER, "run")
    lease._end.set()
    lease._thread.join()
    forget_held()
    monkeypatch.setattr(lock_module, "is_process", lambda pid: False)
    began = time.monotonic()
    acquire(FOLDER, "run").release(remove=False)
    assert time.monotonic() - began < lock_module.EXPIRY
