"""How long a run will take: from earlier runs' rates, or from a few timed steps."""

import pytest

from affinitynet.runs.record import RunRecord
from affinitynet.runs.summary import list_times
from affinitynet.runs.times import by_stage, format_seconds, read_rates


def record(**changes):
    empty = dict.fromkeys(("version", "env", "code", "git"), "")
    return RunRecord(
        **empty | {"pipelines": [], "nodes": [], "parameters": {}, "inputs": {}, "outputs": []},
        **changes,
    )


def test_rates_are_of_the_newest_run_that_has_them():
    newest = record(work={"a.x": 10, "a.y": 0}, seconds={"a.x": 5, "a.y": 1})
    older = record(work={"a.x": 10, "b.z": 2}, seconds={"a.x": 50, "b.z": 1})
    assert read_rates([newest, older]) == {"a.x": 0.5, "b.z": 0.5}


def test_a_run_ends_with_what_was_expected_and_what_it_took():
    run = record(
        estimated={"cam.train": 60.0, "cam.infer": 10.0, "revision.walk": 200.0},
        seconds={"cam.train": 50.0, "cam.infer": 15.0, "revision.walk": 300.0, "cam.score": 1.0},
    )
    assert list_times(run) == [
        ("time: cam", "65 s, expected 70 s"),
        ("time: revision", "5 min, expected 3 min"),
        ("time: all of these", "6 min, expected 4 min"),
    ]
    assert list_times(record()) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations_are_written_in_the_unit_that_suits_them(seconds, text):
    assert format_seconds(seconds) == text


def test_nodes_are_summed_by_stage():
    assert by_stage({"cam.train": 1, "revision.walk": 2, "cam.infer": 3}) == {
        "cam": 4,
        "revision": 2,
    }
