"""The whole road: what it makes, what MLflow hears, and that masks stay out of training."""

import json
import sqlite3

import pytest
from kedro.framework.project import pipelines
from kedro.io import AbstractVersionedDataset, MemoryDataset

from affinitynet.pipeline_registry import build_pipelines

STAGES = ("cam", "affinity_labels", "affinity_training", "revision", "segmentation")


def ancestors(pipeline, node_name):
    """Names of the datasets that a node can possibly have learned from."""
    makers = {output: node for node in pipeline.nodes for output in node.outputs}
    queue = [node for node in pipeline.nodes if node.name == node_name]
    found = set()
    while queue:
        for name in queue.pop().inputs:
            if name not in found:
                found.add(name)
                queue += [makers[name]] if name in makers else []
    return found


def training_nodes(pipeline):
    return [node.name for node in pipeline.nodes if "training" in node.tags]


def test_no_training_node_can_reach_the_masks():
    road = build_pipelines()["__default__"]
    assert training_nodes(road) == ["cam.train", "affinity_training.train", "segmentation.train"]
    for name in training_nodes(road):
        assert "masks" not in ancestors(road, name)


def test_supervision_by_masks_shows_in_the_graph():
    road = build_pipelines(supervision="masks")["__default__"]
    assert "masks" in ancestors(road, "segmentation.train")
    assert "masks" not in ancestors(road, "cam.train")


def test_the_check_runs_before_everything_that_it_guards():
    road = build_pipelines(rendered=False)["__default__"]
    assert road.nodes[0].name == "ingestion.check"
    assert [node.name for node in build_pipelines()["__default__"].nodes[:2]] == [
        "scenes.render",
        "ingestion.check",
    ]


def test_scenes_exist_only_where_photos_are_rendered():
    assert "scenes" in build_pipelines()
    assert "scenes" not in build_pipelines(rendered=False)


def test_every_dataset_has_an_entry_with_a_layer(finished_run):
    catalog = finished_run.catalog()
    for pipeline in build_pipelines().values():
        for name in pipeline.datasets():
            if name.startswith("params:"):
                continue
            dataset = catalog.get(name)
            assert not isinstance(dataset, MemoryDataset), f"{name} has no catalog entry"
            assert dataset.metadata["kedro-viz"]["layer"], name


def test_all_that_a_run_makes_is_versioned_and_complete(finished_run):
    catalog = finished_run.catalog()
    (version,) = [path.stem for path in (finished_run.data / "08_reporting/runs").iterdir()]
    for name in pipelines["__default__"].all_outputs():
        dataset = catalog.get(name)
        assert isinstance(dataset, AbstractVersionedDataset), name
        assert dataset.exists(), name
        assert dataset.resolve_load_version() == version


def test_record_says_what_ran(finished_run):
    (path,) = (finished_run.data / "08_reporting/runs").iterdir()
    record = json.loads(path.read_text())
    assert record["finished"]
    assert record["env"] == "test"
    assert record["parameters"]["cam.training.epochs"] == 2
    assert "segmentation.model" in record["outputs"]


def query(project, statement):
    with sqlite3.connect(project.database) as connection:
        return connection.execute(statement).fetchall()


def test_mlflow_hears_of_every_stage(finished_run):
    metrics = {name for (name,) in query(finished_run, "select key from metrics")}
    assert metrics >= {
        "cam.miou",
        "affinity_labels.coverage",
        "affinity_labels.accuracy",
        "affinity_training.loss",
        "revision.random_walk_miou",
        "revision.pseudo_label_miou",
        "segmentation.miou",
        "cam.iou.background",
        "revision.iou.background",
        "segmentation.iou.background",
    }
    steps = query(finished_run, "select step from metrics where key = 'cam.loss' order by step")
    assert steps == [(3,), (6,)]  # two epochs of twelve photos, four at a time


def test_mlflow_has_flat_parameters_tags_and_artifacts(finished_run):
    parameters = dict(query(finished_run, "select key, value from params"))
    assert parameters["cam.network.backbone.name"] == "resnet10t"
    assert parameters["revision.random_walk.beta"] == "8"
    assert parameters["seed"] == "0"
    assert "git_revision" in dict(query(finished_run, "select key, value from tags"))
    assert query(finished_run, "select status, count(*) from runs") == [("FINISHED", 1)]
    artifacts = {path.name for path in (finished_run.folder / "artifacts").rglob("*.*")}
    assert {"reporting.training_sheet.png", "reporting.stages_plot.png"} <= artifacts
    assert {"reporting.stages.csv", "cam.threshold_curve.csv"} <= artifacts


def test_the_same_seed_gives_the_same_scores(finished_run, project):
    project.run()
    for stage in ("cam", "affinity_labels", "revision", "segmentation"):
        name = f"{stage}.metrics"
        assert project.catalog().load(name) == finished_run.catalog().load(name)


@pytest.mark.parametrize("stage", ["affinity_labels", "revision"])
def test_a_stage_runs_alone_on_the_newest_versions(finished_copy, stage):
    before = finished_copy.catalog().load(f"{stage}.metrics")
    finished_copy.run(stage)
    records = sorted((finished_copy.data / "08_reporting/runs").iterdir())
    assert len(records) == 2
    alone = json.loads(records[1].read_text())
    assert alone["inputs"]["cam.maps"] == records[0].stem
    assert finished_copy.catalog().load(f"{stage}.metrics") == before
