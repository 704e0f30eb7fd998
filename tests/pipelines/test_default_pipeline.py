"""The default pipeline: its outputs, its MLflow records, and that masks stay out of training."""

import json
import re
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import AbstractVersionedDataset, MemoryDataset

from affinitynet.errors import UserError
from affinitynet.pipeline_registry import CONDITIONS, register_pipelines
from affinitynet.runs.record import flatten
from affinitynet.runs.session import select_requested
from affinitynet.runs.tracking import data_fingerprint
from tests.conftest import PROJECT


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
    default = register_pipelines()["__default__"]
    assert training_nodes(default) == ["cam.train", "affinity_training.train", "segmentation.train"]
    for name in training_nodes(default):
        assert "masks" not in ancestors(default, name)


def test_kedro_finds_the_types_of_every_node():
    """It reads them when a run starts, and warns of each that cannot be resolved."""
    for node in {node for whole in register_pipelines().values() for node in whole.nodes}:
        assert get_type_hints(getattr(node.func, "func", node.func)), node.name


def test_no_stage_knows_where_the_data_came_from():
    default = register_pipelines()["__default__"]
    beyond = [node for node in default.nodes if not node.name.startswith(("scenes.", "ingestion."))]
    made = {name for node in beyond for name in node.outputs}
    raw = {name for node in beyond for name in node.inputs} - made - {"index", "classes"}
    assert {name for name in raw if not name.startswith("params:")} == {
        "photos",
        "masks",
        "corrected",
        "segments",
        "run",
    }


def test_supervision_by_masks_is_a_pipeline_of_its_own_and_shows_in_the_graph():
    registered = register_pipelines()
    weak, full = registered["segmentation"], registered["segmentation_from_masks"]
    assert "masks" in ancestors(registered["__default__"] - weak + full, "segmentation.train")
    assert weak.all_outputs() == full.all_outputs()
    assert weak.inputs() - full.inputs() == {"revision.labels"}


def test_masks_are_read_to_check_score_and_show_them_and_for_nothing_else():
    default = register_pipelines()["__default__"]
    assert {node.name for node in default.nodes if "masks" in node.inputs} == {
        "ingestion.check",
        "cam.score",
        "affinity_labels.score",
        "revision.score",
        "segmentation.score",
        "tagged_masks.compare",
        "reporting.make_gallery",
    }


def test_the_check_runs_before_everything_that_it_guards():
    default = register_pipelines()["__default__"]
    first = ["scenes.render", "ingestion.inspect", "ingestion.check", "ingestion.index"]
    assert [node.name for node in default.nodes[:4]] == first


UNASKED = {"ingestion.check_corrections", "revision.check_segments", "export.export_int8"}


@pytest.mark.parametrize(
    ("env", "parameters", "left_out"),
    [
        (
            "test",
            {"corrected": "c", "segments": "slic"},
            {"export.export_onnx", "export.export_int8", "inference.coco", "inference.overlay"},
        ),
        ("voc_cpu", {}, {"scenes.render", *UNASKED, "inference.coco", "inference.overlay"}),
        ("tagged", {"coco": "coco", "overlays": "o"}, {"scenes.render", *UNASKED}),
    ],
)
def test_parameters_leave_nodes_out_of_a_run_not_of_the_graph(project, env, parameters, left_out):
    before = {name: {*whole.nodes} for name, whole in pipelines.items()}
    catalog = project.catalog(env=env, parameters=parameters)
    for name in ("__default__", "inference"):
        nodes = {node.name for node in pipelines[name].nodes}
        left = {node.name for node in select_requested(pipelines[name], catalog).nodes}
        assert nodes - left == nodes & left_out
    assert {name: {*whole.nodes} for name, whole in pipelines.items()} == before


def test_conditions_are_of_nodes_and_parameters_that_there_are(project):
    names = {node.name for whole in register_pipelines().values() for node in whole.nodes}
    assert CONDITIONS.keys() <= names
    catalog = project.catalog()
    for condition in CONDITIONS.values():
        assert f"params:{condition.partition('=')[0]}" in catalog


def test_a_run_of_nothing_warns(project, caplog):
    project.run("scenes", env="voc_cpu")
    assert "leave out all that was to run: scenes.render (scenes)" in caplog.text
    assert project.record()["finished"]


def test_a_session_of_kedro_s_own_is_refused_where_it_would_run_too_much(project):
    with (
        pytest.raises(UserError, match=r"affinitynet\.runs\.session\.RunSession"),
        KedroSession.create(PROJECT, env="voc", runtime_params=project.parameters()) as session,
    ):
        session.run()


@pytest.mark.parametrize("env", ["base", "test", "voc", "voc_cpu", "tagged", "coco"])
def test_every_dataset_has_an_entry_with_a_layer(project, env):
    catalog = project.catalog(env=None if env == "base" else env)
    for pipeline in pipelines.values():
        for name in pipeline.datasets():
            if name.startswith("params:"):
                assert name in catalog, name
                continue
            if name == "parameters":  # all of them: Kedro's own
                continue
            dataset = catalog.get(name)
            # `run` is put into the catalog by a hook
            assert name == "run" or not isinstance(dataset, MemoryDataset), f"{name}: no entry"
            assert dataset.metadata["kedro-viz"]["layer"], name


def test_all_that_a_run_makes_is_versioned_and_complete(finished_run):
    catalog = finished_run.catalog()
    for name in select_requested(pipelines["__default__"], catalog).all_outputs():
        dataset = catalog.get(name)
        assert isinstance(dataset, AbstractVersionedDataset), name
        assert dataset.exists(), name
        assert dataset.resolve_load_version() == finished_run.record()["version"]
    assert not list(finished_run.data.rglob("*.part"))


def test_per_image_outputs_have_an_item_an_image(finished_run):
    catalog = finished_run.catalog()
    index = catalog.load("index")
    assert index["split"].value_counts().to_dict() == {"train": 12, "val": 4}
    ids = {split: {*rows.index} for split, rows in index.groupby("split")}
    for name in ("cam.maps", "affinity_labels.labels", "revision.maps", "revision.labels"):
        assert catalog.load(name).keys() == ids["train"], name
    assert catalog.load("segmentation.predictions").keys() == ids["val"]


def test_maps_are_only_of_the_tagged_classes(finished_run):
    catalog = finished_run.catalog()
    classes = [*catalog.load("classes")]
    tags = catalog.load("index")["tags"].str.split("|")
    for name, background in (("cam.maps", []), ("revision.maps", [0])):
        for image_id, load in catalog.load(name).items():
            stored = load()
            labels = [classes.index(tag) + 1 for tag in tags[image_id]]
            assert stored.labels.tolist() == background + labels
            assert stored.maps.dtype == np.float16
            assert len(stored.maps) == len(stored.labels)
            assert 0 <= stored.maps.min() <= stored.maps.max() <= 1


def test_labels_are_only_of_the_tagged_classes(finished_run):
    catalog = finished_run.catalog()
    classes, index = catalog.load("classes"), catalog.load("index")
    for name in ("affinity_labels.labels", "revision.labels"):
        for image_id, load in catalog.load(name).items():
            tagged = {classes[tag] for tag in index["tags"][image_id].split("|")}
            assert {*np.unique(load()).tolist()} <= {0, 255, *tagged}
    for image_id, load in catalog.load("segmentation.predictions").items():
        assert load().shape == (index["height"][image_id], index["width"][image_id])


def test_record_says_what_ran(finished_run):
    record = finished_run.record()
    assert record["finished"]
    assert record["env"] == "test"
    assert record["pipelines"] == ["__default__"]
    assert record["parameters"]["cam.training.epochs"] == 2
    assert "segmentation.model" in record["outputs"]
    assert record["seconds"]["cam.train"] > 0.02  # it yields, and is not done when it is called
    assert [(record["mlflow_run"],)] == finished_run.query("select run_uuid from runs")


def test_mlflow_hears_the_scores_of_every_stage(finished_run):
    heard = dict(finished_run.query("select key, value from metrics"))
    for stage, scores in finished_run.metrics().items():
        for name, value in flatten(scores).items():
            assert heard[f"{stage}.{name}"] == pytest.approx(value), f"{stage}.{name}"
    assert heard.keys() >= {
        "cam.miou",
        "cam.iou.background",
        "cam.iou.owl",
        "affinity_labels.coverage",
        "affinity_labels.accuracy",
        "affinity_training.loss",
        "revision.random_walk_miou",
        "revision.pseudo_label_miou",
        "revision.iou.background",
        "segmentation.miou",
        "segmentation.iou.background",
    }


@pytest.mark.parametrize("stage", ["cam", "affinity_training", "segmentation"])
def test_mlflow_has_the_curves_of_training(finished_run, stage):
    history = finished_run.catalog().load(f"{stage}.history")
    assert history["step"].tolist() == [3, 6]  # two epochs of twelve photos, four at a time
    for name in ("loss", "learning_rate"):
        logged = finished_run.query(
            f"select step, value from metrics where key = '{stage}.{name}' order by step"
        )
        expected = history[["step", name]].rename(columns={name: "value"})
        pd.testing.assert_frame_equal(pd.DataFrame(logged, columns=["step", "value"]), expected)


def test_mlflow_has_flat_parameters_and_tags(finished_run):
    parameters = dict(finished_run.query("select key, value from params"))
    assert parameters["cam.network.backbone.name"] == "test_resnet"
    assert parameters["revision.random_walk.beta"] == "8"
    assert parameters["seed"] == "0"
    assert "resume" not in parameters
    assert not [value for value in parameters.values() if re.match(r"\w+\(", value)]
    tags = dict(finished_run.query("select key, value from tags"))
    assert "git_revision" in tags
    assert tags["version"] == finished_run.record()["version"]
    assert tags["environment"] == "test"
    assert tags["pipelines"] == "__default__"
    assert re.fullmatch("[0-9a-f]{12}", tags["data_set"])
    assert "mlflow.parentRunId" not in tags
    assert tags["mlflow.runName"] == "test"
    miou = finished_run.metrics()["segmentation"]["miou"]
    assert f"| segmentation.miou | {miou:.3f} |" in tags["mlflow.note.content"]
    assert finished_run.query("select status, count(*) from runs") == [("FINISHED", 1)]
    assert finished_run.query("select name from experiments where name = 'affinitynet'")


def test_mlflow_has_every_table_figure_and_page(finished_run):
    catalog = finished_run.catalog()
    expected = set()
    for name in pipelines["__default__"].all_outputs():
        kind = (catalog.get(name).metadata or {}).get("mlflow")
        suffixes = {
            "table": ["csv"],
            "scores": ["csv", "json"],
            "figure": ["png"],
            "page": ["html"],
        }
        expected |= {f"{name}.{suffix}" for suffix in suffixes.get(kind, [])}
    assert {"reporting.stages.json", "cam.confusion.csv", "reporting.gallery.html"} <= expected
    artifacts = {path.name for path in (finished_run.folder / "artifacts").rglob("*.*")}
    assert expected <= artifacts


def test_the_report_puts_the_stages_side_by_side(finished_run):
    stages = finished_run.catalog().load("reporting.stages").set_index(["stage", "score"])["value"]
    scores = finished_run.metrics()
    assert stages["cam", "mIoU"] == pytest.approx(scores["cam"]["miou"])
    assert stages["segmentation", "mIoU"] == pytest.approx(scores["segmentation"]["miou"])
    assert len(stages) == 7


@pytest.mark.parametrize("stage", ["affinity_labels", "revision"])
def test_a_stage_runs_separately_on_the_newest_versions(finished_copy, stage):
    before, version = finished_copy.metrics(), finished_copy.record()["version"]
    finished_copy.run(stage)
    alone = finished_copy.record()
    assert len(finished_copy.records) == 2
    assert alone["inputs"]["cam.maps"] == version
    assert finished_copy.metrics() == before
    tags = dict(
        finished_copy.query(f"select key, value from tags where run_uuid = '{alone['mlflow_run']}'")
    )
    assert tags["input.cam.maps"] == version
    maker = json.loads(finished_copy.records[0].read_text())["mlflow_run"]
    of_maker = dict(finished_copy.query(f"select key, value from tags where run_uuid = '{maker}'"))
    assert tags["mlflow.parentRunId"] == maker
    assert tags["data_set"] == of_maker["data_set"]


def test_a_stage_whose_maker_is_not_in_this_mlflow_has_no_parent(finished_copy):
    path, record = finished_copy.records[0], finished_copy.record()
    path.write_text(json.dumps(record | {"mlflow_run": "0" * 32}))
    finished_copy.run("revision")
    assert not finished_copy.query("select * from tags where key = 'mlflow.parentRunId'")


def test_the_data_sets_tag_is_its_images(finished_run):
    index = finished_run.catalog().load("index")
    tag = data_fingerprint(index)
    assert tag == data_fingerprint(index.copy())
    other = index.copy()
    other.loc[other.index[0], "tags"] = "another"
    assert tag != data_fingerprint(other)
    assert tag != data_fingerprint(index.iloc[:-1])


def test_the_upper_bound_learns_from_the_masks(finished_copy):
    finished_copy.run("segmentation_from_masks")
    inputs = finished_copy.record()["inputs"]
    assert "masks" in inputs
    assert "revision.labels" not in inputs


def test_a_second_round_learns_from_the_networks_own_labels_and_makes_the_newer_network(
    finished_copy,
):
    first = finished_copy.record()["version"]
    finished_copy.run("self_training")
    inputs = finished_copy.record()["inputs"]
    assert inputs["tagged_masks.maps"] == first
    assert "revision.labels" not in inputs
    (path,) = finished_copy.data.glob("08_reporting/*/self_training/metrics.json/*/metrics.json")
    assert {"coverage", "accuracy"} == {*json.loads(path.read_text())}
    assert len([*finished_copy.data.glob("06_models/segmentation/model.pt/*")]) == 2


def test_the_second_round_cannot_reach_the_masks():
    second = register_pipelines()["self_training"]
    assert training_nodes(second) == ["segmentation.train"]
    learned_from = ancestors(second, "segmentation.train")
    assert "tagged_masks.maps" in learned_from
    assert "masks" not in learned_from
