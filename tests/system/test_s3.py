"""Data in an object store: `data=s3://…`, against moto's server on this machine."""

import json
import logging
import os
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
        ("AWS_MAX_ATTEMPTS", "1"),  # botocore's own, with pauses drawn at random
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


class Unavailable(BaseHTTPRequestHandler):
    """What a store's gateway answers while the store is gone."""

    def answer(self):
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def instead(server, *, answers):
    """Take the server away, and put a gateway that answers in its place if asked to."""
    address = server.get_host_and_port()
    server.stop()
    server._server.server_close()
    if answers:
        gateway = ThreadingHTTPServer(address, Unavailable)
        threading.Thread(target=gateway.serve_forever).start()
    yield
    if answers:
        gateway.shutdown()
        gateway.server_close()
    server.start()


@pytest.mark.parametrize("answers", [False, True])
def test_a_server_that_goes_away_for_a_while_costs_nothing(bucket, server, answers, caplog):
    """A short while; `OUTAGE=10 pytest tests/system/test_s3.py -k goes_away` waits for longer."""
    outage = float(os.environ.get("OUTAGE", 1))
    dataset = numbers()
    dataset.save({"a": 1})
    with ExitStack() as gone:
        gone.enter_context(instead(server, answers=answers))
        back = threading.Timer(outage, gone.pop_all().close)
    back.start()
    began = time.monotonic()
    dataset.save({"b": 2})
    assert time.monotonic() - began > outage / 2
    back.join()
    assert "Waiting for it." in caplog.text
    assert numbers().done().keys() == {"a", "b"}


@pytest.mark.long
def test_a_whole_run_and_one_that_is_resumed(bucket, project, finished_run):
    """Samples are prepared in a forked process, which must not use this one's connections."""
    training = {"cam.training.workers": 1, "cam.training.cache_megabytes": 0}
    parameters = {"data": "s3://bucket/data"} | training
    project.run(parameters=parameters)
    (record,) = bucket.glob("bucket/data/08_reporting/runs/*.json")
    scores = bucket.glob("bucket/data/08_reporting/test/*/metrics.json/*/metrics.json")
    found = {path.split("/")[-4]: json.loads(bucket.cat(path)) for path in scores}
    assert finished_run.metrics().items() <= found.items()

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
