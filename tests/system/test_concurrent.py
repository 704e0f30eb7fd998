"""Several first runs at once, in one data folder and one MLflow database."""

import json

import pytest

from affinitynet.errors import UserError
from tests.conftest import Project
from tests.system.test_lock import hold


@pytest.mark.long
def test_runs_at_once_in_a_fresh_project_do_not_mix(finished_run, tmp_path):
    """One with the reference's parameters has its scores, whatever the others make meanwhile."""
    project = Project(tmp_path)
    seeds = (0, 1)
    runs = {
        seed: project.start("--to-nodes", "cam.score", parameters={"seed": seed}) for seed in seeds
    }
    for seed, run in runs.items():
        output, _ = run.communicate(timeout=600)
        assert run.returncode == 0, f"seed {seed}:\n{output}"
    records = {
        record["parameters"]["seed"]: record
        for record in (json.loads(path.read_text()) for path in project.records)
    }
    assert {*records} == {*seeds}
    folder = "04_feature/test/cam/maps/{}/maps"
    reference = finished_run.data / folder.format(finished_run.record()["version"])
    made = {}
    for seed, record in records.items():
        assert record["finished"]
        files = sorted((project.data / folder.format(record["version"])).iterdir())
        made[seed] = {path.name: path.read_bytes() for path in files}
    assert made[0] == {path.name: path.read_bytes() for path in reference.iterdir()}
    assert made[1] != made[0]
    tracked = dict(
        project.query(
            "select params.value, metrics.value from metrics join params using (run_uuid) "
            "where metrics.key = 'cam.miou' and params.key = 'seed'"
        )
    )
    file = "08_reporting/test/cam/metrics.json/{}/metrics.json"
    for seed, record in records.items():
        scores = json.loads((project.data / file.format(record["version"])).read_text())
        assert tracked[str(seed)] == scores["miou"]
    assert tracked["0"] == finished_run.metrics()["cam"]["miou"]


def test_two_runs_of_one_moment_are_distinguished(finished_copy):
    """Their version is the moment, so that one of them must go."""
    with finished_copy.session() as session:
        held, output = hold(finished_copy.records[-1].parent, session.session_id)
        assert output == "held"
        with pytest.raises(UserError, match="Another run began in the same moment"):
            session.run(node_names=["segmentation.score"])
        held.kill()
        held.wait()
    assert len(finished_copy.records) == 1
