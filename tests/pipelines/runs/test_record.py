import json
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from affinitynet.runs import record as record_module
from affinitynet.runs.record import (
    SCHEMA,
    RunRecord,
    code_fingerprint,
    flatten,
    git_revision,
    read_record,
    read_records,
)

RECORD = RunRecord(
    version="2018-06-18T01.02.03.456Z",
    env="test",
    pipelines=["cam"],
    nodes=["cam.infer", "cam.train"],
    parameters={"seed": 0, "cam.training.epochs": 5},
    code="1234",
    git="abc",
    inputs={"photos": "3 files, 11", "index": "2018-06-17T00.00.00.000Z"},
    outputs=["cam.maps"],
)


def test_the_same_command_can_go_on():
    later = replace(RECORD, version="2018-06-19T00.00.00.000Z", mlflow_run="7", git="abc-dirty")
    assert RECORD.differences(later) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"parameters": {"seed": 1, "cam.training.epochs": 5}},
            "parameter seed: was 0, is 1",
        ),
        ({"parameters": {"seed": 0}}, "parameter cam.training.epochs: was 5, is None"),
        ({"code": "5678", "git": "def"}, "code: was 1234 (git abc), is 5678 (git def)"),
        ({"code": "5678", "git": ""}, "code: was 1234 (git abc), is 5678 (git unknown)"),
        (
            {"inputs": RECORD.inputs | {"photos": "4 files, 22"}},
            "input photos: was 3 files, 11, is 4 files, 22",
        ),
        (
            {"inputs": RECORD.inputs | {"index": "2018-06-19T00.00.00.000Z"}},
            "input index: was 2018-06-17T00.00.00.000Z, is 2018-06-19T00.00.00.000Z",
        ),
        (
            {"pipelines": ["__default__"], "nodes": ["cam.infer", "cam.score", "cam.train"]},
            "pipeline: was cam, is __default__ (nodes in only one of them: cam.score)",
        ),
    ],
)
def test_what_keeps_a_run_from_going_on_is_named(change, line):
    (found,) = RECORD.differences(replace(RECORD, **change))
    assert found.startswith(line)


def test_every_difference_has_a_line():
    other = replace(RECORD, parameters={"seed": 1, "new": 2}, code="5", nodes=[], inputs={})
    starts = [line.split(":")[0] for line in RECORD.differences(other)]
    assert starts == [
        "parameter cam.training.epochs",
        "parameter new",
        "parameter seed",
        "code",
        "input index",
        "input photos",
        "pipeline",
    ]


def test_records_are_read_as_written_newest_first(tmp_path):
    newer = replace(RECORD, version="2018-06-19T00.00.00.000Z").finish()
    for each in (newer, RECORD):
        each.write(f"{tmp_path}/runs")
    (tmp_path / "runs" / "2018-06-20T00.00.00.000Z.json.part").touch()  # killed while writing
    assert read_records(f"{tmp_path}/runs") == [newer, RECORD]
    assert newer.finished
    assert not RECORD.finished
    assert read_records(f"{tmp_path}/nowhere") == []


def test_a_record_that_is_written_again_is_replaced(tmp_path):
    RECORD.write(str(tmp_path))
    RECORD.finish().write(str(tmp_path))
    assert len([*tmp_path.iterdir()]) == 1


def test_a_record_of_an_earlier_version_is_read(tmp_path):
    RECORD.write(str(tmp_path))
    (file,) = tmp_path.iterdir()
    fields = json.loads(file.read_text())
    del fields["process"], fields["schema"]
    file.write_text(json.dumps(fields))
    assert read_records(str(tmp_path)) == [RECORD]
    assert read_record(str(tmp_path), RECORD.version) == RECORD


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ('{"version": "2018-', "Unterminated string"),
        ("[1, 2]", "it is no run record"),
        ('{"version": "2018", "env": "test"}', "validation errors"),
        ({"inputs": None}, "validation error"),
        ({"schema": SCHEMA + 1, "more": {}}, "a newer version wrote it"),
        (b"{\x80", "codec can't decode"),
    ],
)
def test_what_is_no_record_is_named_and_left_out(tmp_path, caplog, content, reason):
    if isinstance(content, dict):
        content = json.dumps(asdict(RECORD) | content)
    RECORD.write(str(tmp_path))
    wrong = tmp_path / "2018-06-20T00.00.00.000Z.json"
    wrong.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "2018-06-21T00.00.00.000Z.json").mkdir()
    assert read_records(str(tmp_path)) == [RECORD]
    assert f"The run record {wrong} is left out" in caplog.text
    assert reason in caplog.text


def test_fields_that_are_new_are_no_obstacle(tmp_path):
    RECORD.write(str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps(asdict(RECORD) | {"comment": "of a later version"}))
    assert read_records(str(tmp_path)) == [RECORD]


def test_the_version_is_the_start_of_the_run():
    assert RECORD.started == datetime(2018, 6, 18, 1, 2, 3, 456000, UTC)


def test_code_is_the_package_s_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("1")
    before = code_fingerprint()
    (tmp_path / "notes.txt").write_text("no source")
    assert code_fingerprint() == before
    (tmp_path / "a.py").write_text("2")
    changed = code_fingerprint()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({before, changed, code_fingerprint()}) == 3


def test_git_revision_tells_changed_files(tmp_path):
    assert git_revision(tmp_path) == ""

    def git(*options):
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *name, *options], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "file").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    revision = git_revision(tmp_path)
    assert len(revision) >= 7
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == f"{revision}-dirty"


def test_parameters_are_flattened_to_their_full_names():
    nested = {"seed": 0, "cam": {"training": {"epochs": 5}, "scales": [[1, 8]], "head": {}}}
    assert flatten(nested) == {
        "seed": 0,
        "cam.training.epochs": 5,
        "cam.scales": [[1, 8]],
        "cam.head": {},
    }
