"""Files that appear when they are complete: full disks, links, and what dead processes leave."""

import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager

import fsspec
import pytest
from kedro.io import Version

from affinitynet.datasets import FolderDataset, VersionedPartitionsDataset
from affinitynet.datasets.atomic import ABANDONED, part_path, sweep


@contextmanager
def full_disk(size):
    """Let files grow no larger than this many bytes: what is written fails when it is flushed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(path, content, mode="wb"):
    with fsspec.filesystem("file").open(str(path), mode) as file:
        file.write(content)


@pytest.mark.parametrize("suffix", [".json", ".png"])
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_disk_that_is_full_at_the_last_flush_leaves_what_was_there(tmp_path, mode, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_text("before")
    content = "x" * 200 if mode == "w" else b"x" * 200  # less than a buffer
    with full_disk(100), pytest.raises(OSError, match="File too large"):
        write(path, content, mode)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "before"


def test_a_link_at_the_destination_is_not_replaced(tmp_path):
    original, link = tmp_path / "original", tmp_path / "link"
    original.write_bytes(b"the user's")
    link.symlink_to(original)
    with pytest.raises(FileExistsError, match=r"a link to '.*/original', which is not replaced"):
        write(link, b"ours")
    assert link.is_symlink()
    assert original.read_bytes() == b"the user's"
    assert {*tmp_path.iterdir()} == {original, link}


def test_folders_may_be_links(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    write(tmp_path / "data" / "file", b"ours")
    assert (tmp_path / "disk" / "file").read_bytes() == b"ours"


KILLED = """
import os, signal, fsspec
from affinitynet.datasets import register_atomic_file_systems
register_atomic_file_systems()
file = fsspec.filesystem("file").open({path!r}, "wb")
file.write(b"half")
print("begun", flush=True)
signal.pause()
"""


def test_only_what_dead_processes_left_is_swept(tmp_path):
    path = tmp_path / "sub" / "file"
    path.parent.mkdir()
    command = [sys.executable, "-c", KILLED.format(path=str(path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        (_,) = path.parent.iterdir()
        assert sweep(tmp_path) == 0
        other.kill()
        other.wait()
        ours = tmp_path / part_path("ours")
        ours.touch()
        assert sweep(tmp_path) == 1
        assert [*tmp_path.rglob("*.part")] == [ours]


def test_other_machines_files_are_swept_when_they_are_old(tmp_path):
    foreign = tmp_path / ".0a1b2c3d-1-4e5f6a7b.part"
    former = tmp_path / "photo.jpg.4e5f6a7b.part"  # of a version that named no process
    download = tmp_path / "archive.part"  # not of this project
    for path in (foreign, former, download):
        path.touch()
    assert sweep(tmp_path) == 0
    for path in (foreign, former, download):
        os.utime(path, (0, time.time() - ABANDONED - 1))
    assert sweep(tmp_path) == 2
    assert [*tmp_path.iterdir()] == [download]


def test_folders_that_are_only_read_are_not_swept(tmp_path):
    with subprocess.Popen(["true"]) as dead:
        pass
    left = tmp_path / os.path.basename(part_path("a")).replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    left.touch()
    options = {"path": str(tmp_path), "dataset": "json.JSONDataset"}
    FolderDataset(**options).sweep()
    assert left.exists()
    FolderDataset(**options, read_only=False).sweep()
    assert not left.exists()


def test_empty_files_of_a_power_failure_are_not_done(tmp_path):
    dataset = VersionedPartitionsDataset(
        path=str(tmp_path), dataset="json.JSONDataset", version=Version(None, "2018-06-18")
    )
    dataset.save({"a": 1, "b": 2})
    (tmp_path / "2018-06-18" / tmp_path.name / "a").write_bytes(b"")
    assert dataset.done().keys() == {"b"}
