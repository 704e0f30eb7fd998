"""What MLflow hears of a run, besides the tests of the default pipeline."""

import json
import os
import shutil
import sqlite3
from contextlib import contextmanager
from io import BytesIO

import mlflow
import numpy as np
import pandas as pd
import pytest
from kedro.framework.startup import bootstrap_project
from PIL import Image

from affinitynet.pipeline_registry import register_pipelines
from affinitynet.runs import tracking
from affinitynet.runs.context import RunContext, _choose_tracking
from affinitynet.runs.provenance import format_command, tag_model
from affinitynet.runs.record import RunRecord
from affinitynet.runs.session import RunSession
from affinitynet.runs.tracking import log_compared, log_model, run_name
from tests.conftest import PROJECT, Project

DEFAULT = register_pipelines()


def record_of(env, *pipelines, version="2", **parameters):
    nodes = [node.name for name in pipelines or ["__default__"] for node in DEFAULT[name].nodes]
    return RunRecord(version, env, [*pipelines], sorted(nodes), parameters, "", "", {}, [])


def named(env, *pipelines, runtime_params=None):
    return run_name(record_of(env, *pipelines), DEFAULT, runtime_params or {}, [])


def test_a_run_is_named_by_what_tells_it_from_others():
    assert named("voc_cpu") == "voc_cpu"
    assert named(
        "base", runtime_params={"seed": 1, "cam.network.weights": "/home/me/res38_cls.pth"}
    ) == ("base: seed=1, cam.network.weights=res38_cls.pth")
    assert named(
        "base", "reporting", "revision", runtime_params={"revision.random_walk.alpha": 4}
    ) == ("base revision, reporting: revision.random_walk.alpha=4")


def test_a_run_of_edited_files_is_named_by_what_they_changed():
    pets = {"images": "/home/me/pets"}
    now = record_of("tagged", "cam", **pets, seed=1, epochs=8, same=0)
    before = record_of("tagged", "cam", version="1", **pets, seed=0, epochs=5, same=0)
    other = record_of("base", "cam", version="1", **pets, seed=3, epochs=1)
    given = pets | {"seed": 1}
    assert run_name(now, DEFAULT, given, [now, other]) == "tagged cam: images=pets, seed=1"
    assert run_name(now, DEFAULT, given, [now, other, before]) == (
        "tagged cam: seed=1, epochs=8, images=pets"
    )
    many = {f"p{number}": number for number in range(9)}
    assert run_name(now, DEFAULT, many, []).endswith("p4=4, p5=5, …")


def test_the_last_loss_is_said(finished_copy, caplog):
    with caplog.at_level("INFO", logger="affinitynet"):
        finished_copy.run(
            "affinity_training", from_nodes=["affinity_training.select_final_checkpoint"]
        )
    loss = finished_copy.catalog().load("affinity_training.history")["loss"].iloc[-1]
    assert f"affinity_training: loss {loss:.3f}" in caplog.messages


def test_mlflows_file_lies_in_the_projects_folder(finished_copy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    bootstrap_project(PROJECT)
    anchored = {None: f"{PROJECT}/mlflow.db", "some.db": f"{PROJECT}/some.db", "/a.db": "/a.db"}
    for runtime_params, path in anchored.items():
        parameters = {"mlflow_db": runtime_params} if runtime_params else {}
        with RunSession.create(PROJECT, runtime_params=parameters) as session:
            config = RunContext(
                package_name="affinitynet",
                project_path=PROJECT,
                config_loader=session._get_config_loader(),
                env=None,
                hook_manager=None,
            ).config_loader
            config.config_patterns["mlflow"] = ["mlflow*"]
            assert config["mlflow"]["server"]["mlflow_tracking_uri"] == f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("runtime_params", "environment", "chosen"),
    [
        ({}, None, {"mlflow_db": "mlflow.db", "mlflow_artifacts": "mlartifacts"}),
        (
            {},
            "http://team:5000",
            {
                "mlflow_tracking_uri": "http://team:5000",
                "mlflow_db": "mlflow.db",
                "mlflow_artifacts": None,
            },
        ),
        (
            {"mlflow_db": "my.db"},
            "http://team:5000",
            {"mlflow_db": "my.db", "mlflow_artifacts": "mlartifacts"},
        ),
        (
            {"mlflow_tracking_uri": "http://other", "mlflow_artifacts": "s3://bucket"},
            "http://team:5000",
            {
                "mlflow_tracking_uri": "http://other",
                "mlflow_artifacts": "s3://bucket",
                "mlflow_db": "mlflow.db",
            },
        ),
    ],
)
def test_where_runs_are_tracked(runtime_params, environment, chosen):
    runtime_params = {**runtime_params}
    _choose_tracking(runtime_params, environment)
    assert runtime_params == chosen


def test_the_address_is_a_parameter_and_the_environment_s_comes_before_the_file(
    finished_copy, monkeypatch, tmp_path
):
    """SQLite files stand for servers: MLflow takes any address."""
    team, own = (f"sqlite:///{tmp_path}/{name}.db" for name in ("team", "own"))
    for name in ("team", "own"):
        shutil.copy(finished_copy.folder / "mlflow.db", tmp_path / f"{name}.db")
    node = {"node_names": ["segmentation.score"]}
    without = {
        name: value for name, value in finished_copy.parameters().items() if "mlflow" not in name
    }
    monkeypatch.setattr(Project, "parameters", lambda self, **more: without | more)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team)
    finished_copy.run(**node)
    assert os.environ["MLFLOW_TRACKING_URI"] == team
    finished_copy.run(**node, parameters={"mlflow_tracking_uri": own})
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    finished_copy.run(**node, parameters={"mlflow_db": str(finished_copy.folder / "mlflow.db")})
    assert "MLFLOW_TRACKING_URI" not in os.environ  # MLflow itself sets it
    runs = "select count(*) from runs"
    for file in (tmp_path / "team.db", tmp_path / "own.db", finished_copy.folder / "mlflow.db"):
        with sqlite3.connect(file) as connection:
            assert connection.execute(runs).fetchone() == (2,)
    assert not any("mlflow" in name for name in finished_copy.record()["parameters"])


def test_artifacts_that_go_elsewhere_than_asked_are_named(finished_copy, caplog, tmp_path):
    node = {"node_names": ["segmentation.score"]}
    finished_copy.run(**node)
    assert "keeps it" not in caplog.text
    finished_copy.run(**node, parameters={"mlflow_artifacts": str(tmp_path / "elsewhere")})
    assert f"mlflow_artifacts is file://{tmp_path}/elsewhere, but" in caplog.text
    assert f"was made with {finished_copy.folder}/artifacts and keeps it" in (
        caplog.text.replace("file://", "")
    )


def test_a_run_is_resumed_in_another_database(finished_copy, empty_project, caplog):
    path = finished_copy.records[-1]
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"finished": None}))
    (metrics,) = finished_copy.data.glob("08_reporting/test/segmentation/metrics.json/*/*")
    metrics.unlink()
    other = finished_copy.folder / "other.db"
    shutil.copy(empty_project.folder / "mlflow.db", other)
    finished_copy.run(parameters={"resume": True, "mlflow_db": str(other)})
    assert f"The MLflow run {record['mlflow_run']} of the resumed run is not in" in caplog.text
    with sqlite3.connect(other) as connection:
        ((status, run),) = connection.execute("select status, run_uuid from runs").fetchall()
    assert status == "FINISHED"
    assert json.loads(path.read_text())["mlflow_run"] == run != record["mlflow_run"]


@contextmanager
def mlflow_run(project):
    """An active run of a project."""
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow.db")
    with mlflow.start_run(experiment_id=project.query("select max(experiment_id) from runs")[0][0]):
        yield mlflow.active_run().info.run_id


def test_a_model_is_logged_and_registered_once_a_run(finished_copy, monkeypatch, tmp_path):
    alone = shutil.copytree(tracking.PACKAGE, tmp_path / "affinitynet", symlinks=True)
    assert not (alone / "project/.telemetry").exists()  # a link to a file of the checkout
    monkeypatch.setattr(tracking, "PACKAGE", alone)
    (path,) = finished_copy.data.glob("06_models/export/model.safetensors/*/*")
    with mlflow_run(finished_copy) as run:
        for registered in (None, "animals", "animals"):  # a run that is killed, and killed again
            log_model(
                path.read_bytes(), name="export.model", registered=registered, max_pixels=10**6
            )
    models = f"select name from logged_models where source_run_id = '{run}'"
    assert finished_copy.query(models) == [("export_model",)]
    versions = f"select name, version from model_versions where run_id = '{run}'"
    assert finished_copy.query(versions) == [("animals", 1)]


def test_a_table_to_compare_has_its_rows_once(finished_copy):
    table = pd.DataFrame({"class": ["cat", "dog"], "cam": [0.5, None]})
    with mlflow_run(finished_copy) as run:
        for _ in range(2):
            log_compared(table, file="iou.json")
        log_compared(table, file="stages.json")
    pd.testing.assert_frame_equal(mlflow.load_table("iou.json", run_ids=[run]), table)
    tags = dict(finished_copy.query(f"select key, value from tags where run_uuid = '{run}'"))
    listed = json.loads(tags["mlflow.loggedArtifacts"])
    assert [entry["path"] for entry in listed] == ["iou.json", "stages.json"]


@pytest.mark.parametrize("log", [log_model, log_compared])
def test_without_a_run_nothing_is_logged(log):
    model = {"name": "m", "registered": "m", "max_pixels": 1}
    options = model if log is log_model else {"file": "iou.json"}
    log(b"", **options)


def test_a_command_can_be_repeated():
    given = {"cam": {"training": {"epochs": 2}}, "images": "my photos", "weights": None}
    run = {"pipeline_names": ["cam", "revision"], "load_versions": {"index": "2020"}, "tags": None}
    assert format_command(run, "tagged", given) == (
        "kedro run --env tagged --pipelines cam,revision --load-versions index:2020 --params "
        "'cam.training.epochs=2,images=my photos,weights=null'"
    )
    assert format_command({}, None, {"a": [1, True]}) == "kedro run --params 'a=[1,true]'"


def test_a_run_shows_its_command_its_data_set_and_the_scores_that_it_began_with(finished_copy):
    before = finished_copy.metrics()
    finished_copy.run(node_names=["revision.score"])
    run = finished_copy.record()["mlflow_run"]
    client = mlflow.MlflowClient(f"sqlite:///{finished_copy.folder}/mlflow.db")
    tracked = client.get_run(run)
    tags, metrics = tracked.data.tags, tracked.data.metrics
    assert tags["kedro_command"].startswith("kedro run --env test --nodes revision.score --params")
    assert tags["mlflow.note.content"].startswith("revision.pseudo_label_miou **")
    assert metrics["cam.miou"] == pytest.approx(before["cam"]["miou"])
    for name, iou in before["cam"]["iou"].items():
        assert metrics[f"cam.iou.{name}"] == pytest.approx(iou)
    assert metrics["affinity_labels.coverage"] == pytest.approx(
        before["affinity_labels"]["coverage"]
    )
    whole = client.get_run(json.loads(finished_copy.records[0].read_text())["mlflow_run"])
    splits = {
        one.dataset.name: [tag.value for tag in one.tags] for one in whole.inputs.dataset_inputs
    }
    assert splits == {
        "rendered scenes, train": ["training"],
        "rendered scenes, val": ["evaluation"],
    }


def test_the_registry_says_what_a_model_is_and_which_is_the_best(finished_copy):
    mlflow.set_tracking_uri(f"sqlite:///{finished_copy.folder}/mlflow.db")
    client = mlflow.MlflowClient()
    run = client.get_run(finished_copy.record()["mlflow_run"])
    (first,) = client.search_model_versions("name = 'affinitynet'")
    assert first.tags["environment"] == "test"
    assert first.tags["data_set"] == run.data.tags["data_set"]
    assert float(first.tags["segmentation.miou"]) == pytest.approx(
        run.data.metrics["segmentation.miou"], abs=1e-4
    )
    assert run.data.tags["version"] in first.description
    assert client.get_model_version_by_alias("affinitynet", "best-test").version == first.version
    model = mlflow.pyfunc.load_model("models:/affinitynet@best-test")
    answer = model.predict({"image": [np.zeros((32, 48, 3), np.uint8)]})
    assert Image.open(BytesIO(answer["mask"][0])).size == (48, 32)
    client.set_model_version_tag("affinitynet", first.version, "segmentation.miou", "0.9")
    second = mlflow.register_model(first.source, "affinitynet")
    tag_model("affinitynet", second.version, run)
    assert client.get_model_version_by_alias("affinitynet", "best-test").version == first.version
    client.set_model_version_tag("affinitynet", first.version, "segmentation.miou", "0.0")
    tag_model("affinitynet", second.version, run)
    assert client.get_model_version_by_alias("affinitynet", "best-test").version == second.version
