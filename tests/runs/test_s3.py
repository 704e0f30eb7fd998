"""Data in an object store: `data=s3://…`, against moto's server on this machine."""

import json
import logging
import socket
import threading
import time

import pytest

pytest.importorskip("s3fs", reason='needs s3fs: pip install "affinitynet[s3]"')
pytest.importorskip("moto.server", reason="needs moto's server: make setup")

import fsspec
from kedro.io import DatasetError, Version
from kedro_datasets.json import JSONDataset
from moto.server import ThreadedMotoServer

from affinitynet.datasets import VersionedPartitionsDataset
from affinitynet.errors import UserError


@pytest.fixture
def server(monkeypatch):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
    server.start()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    yield server
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(server):
    files = fsspec.filesystem("s3")
    files.mkdir("bucket")
    yield files
    files.rm("bucket", recursive=True)  # moto's store outlives its server


def numbers(save="2018-06-18T00.00.00.000Z"):
    return VersionedPartitionsDataset(
        path="s3://bucket/numbers",
        dataset=JSONDataset,
        filename_suffix=".json",
        version=Version(None, save),
    )


def test_a_file_whose_writer_fails_is_no_object(bucket):
    def write(name, size):
        with bucket.open(f"bucket/{name}", "wb") as file:
            file.write(b"x" * size)
            raise ValueError("the writer failed")

    for name, size in (("small", 10), ("large", 12 * 2**20)):
        with pytest.raises(ValueError, match="the writer failed"):
            write(name, size)
    with bucket.open("bucket/whole", "wb") as file:
        file.write(b"x")
    try:
        raise ValueError("an error that is handled elsewhere")
    except ValueError:
        with bucket.open("bucket/meanwhile", "wb") as file:
            file.write(b"x")
    assert bucket.ls("bucket", refresh=True) == ["bucket/meanwhile", "bucket/whole"]


def test_partitions_count_once_they_are_confirmed(bucket):
    dataset = numbers()
    dataset.save({"a": 1})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset.save({"b": object()})
    assert not dataset.exists()
    assert numbers().done().keys() == {"a"}
    dataset.save({"c": 3})
    dataset.confirm()
    assert {name: load() for name, load in numbers(None).load().items()} == {"a": 1, "c": 3}


def test_a_server_that_goes_away_for_a_moment_costs_nothing(bucket, server):
    dataset = numbers()
    dataset.save({"a": 1})
    server.stop()
    back = threading.Timer(2, server.start)
    back.start()
    began = time.monotonic()
    dataset.save({"b": 2})
    assert time.monotonic() - began > 1
    back.join()
    assert numbers().done().keys() == {"a", "b"}


def test_a_whole_run_and_one_that_is_resumed(bucket, project, finished_run):
    parameters = {"data": "s3://bucket/data"}
    project.run(parameters=parameters)
    (record,) = bucket.glob("bucket/data/08_reporting/runs/*.json")
    scores = bucket.glob("bucket/data/08_reporting/test/*/metrics.json/*/metrics.json")
    local = finished_run.metrics()
    assert {path.split("/")[-4]: json.loads(bucket.cat(path)) for path in scores} == local

    run = json.loads(bucket.cat(record))
    bucket.pipe(record, json.dumps(run | {"finished": None}).encode())
    labels = f"bucket/data/05_model_input/test/revision/labels/{run['version']}/labels"
    before = bucket.find(labels, detail=True)
    bucket.rm([f"{labels}.complete.json", *sorted(before)[3:]])
    bucket.rm(scores[-1])
    project.run(parameters=parameters | {"resume": True})
    bucket.invalidate_cache()
    after = bucket.find(labels, detail=True)
    assert after.keys() == before.keys()
    kept = sorted(before)[:3]
    assert [after[p]["LastModified"] for p in kept] == [before[p]["LastModified"] for p in kept]
    assert bucket.exists(f"{labels}.complete.json")
    assert json.loads(bucket.cat(record))["finished"]
    with pytest.raises(UserError, match="no unfinished run"):
        project.run(parameters=parameters | {"resume": True})
