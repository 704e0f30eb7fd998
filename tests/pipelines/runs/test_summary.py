"""What a run reports of itself."""

from types import SimpleNamespace

import mlflow
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro_viz.integrations.kedro.run_hooks import PipelineRunStatusHook

from affinitynet.runs import summary
from affinitynet.runs.provenance import run_address
from affinitynet.runs.record import RunRecord
from affinitynet.runs.summary import (
    RunSummary,
    closing_lines,
    list_commands,
    list_results,
    list_warnings,
    name_data_set,
    read_scores,
)
from tests.conftest import PROJECT


def test_a_run_ends_with_its_scores_results_and_next_commands(finished_run):
    catalog, record = finished_run.catalog(), RunRecord(**finished_run.record())
    scores, results = dict(read_scores(record, catalog)), dict(list_results(record, catalog))
    metrics = finished_run.metrics()
    assert scores["walk"] == pytest.approx(metrics["revision"]["random_walk_miou"])
    assert scores["segmentation"] == pytest.approx(metrics["segmentation"]["miou"])
    for entry in ("reporting.gallery", "ingestion.page", "segmentation.model", "export.model"):
        assert list(finished_run.data.glob(results[entry].removeprefix(f"{finished_run.data}/")))
    mlflow.set_tracking_uri(f"sqlite:///{finished_run.folder}/mlflow.db")
    address = run_address(record.mlflow_run)
    text = closing_lines(record, scores, results, list_commands(record, PROJECT), address)
    assert f"http://127.0.0.1:5000/#/experiments/1/runs/{record.mlflow_run}?" in text
    assert all(path in text for path in results.values())
    assert f"{metrics['cam']['miou']:.3f}" in text
    assert "gallery/" in text
    assert "kedro run --env test --pipeline inference" in text
    assert "make mlflow" in text


def test_the_next_commands_are_those_that_there_are(finished_run, tmp_path):
    record = RunRecord(**finished_run.record())
    (command,) = list_commands(record, tmp_path)
    assert command.startswith("affinitynet run --env test --pipeline inference")
    (tmp_path / "pyproject.toml").touch()
    assert list_commands(record, tmp_path) == [command.replace("affinitynet", "kedro")]


def test_a_run_of_one_stage_has_the_scores_of_the_cams_that_it_began_with(finished_run):
    catalog, whole = finished_run.catalog(), finished_run.record()
    later = whole | {
        "version": "2099-01-01T00.00.00.000Z",
        "inputs": {"cam.maps": whole["version"]},
        "outputs": ["revision.metrics"],
    }
    assert [*dict(read_scores(RunRecord(**later), catalog))] == ["cam"]


def test_the_gallery_says_which_parameters_differ(finished_run):
    (path,) = finished_run.data.glob("08_reporting/test/gallery/*/index.html")
    page = path.read_text()
    assert "<dt>cam.training.epochs</dt><dd>2</dd>" in page
    assert "<dt>data</dt>" not in page


@pytest.mark.parametrize(
    ("scores", "step"),
    [
        ({"cam": 0.5, "walk": 0.4}, "The random walk lowers the mIoU on train from 0.500 to 0.400"),
        ({"walk": 0.5, "pseudo": 0.45}, "The dense CRF lowers"),
        ({"cam": 0.5, "walk": 0.6, "pseudo": 0.6}, None),
        ({"cam": 0.5}, None),
        ({}, None),
    ],
)
def test_a_step_that_lowers_the_score_is_reported(scores, step):
    warnings = [*list_warnings(scores)]
    assert len(warnings) == (step is not None)
    assert all(step in warning for warning in warnings)


def test_a_data_set_is_named_by_its_folder():
    tagged = {"scenes": None, "data_set": {"layout": "tagged"}, "images": "/home/me/pets"}
    voc = {"scenes": None, "data_set": {"layout": "voc"}, "voc_root": "/data/VOC2012"}
    assert name_data_set(tagged) == "pets"
    assert name_data_set(voc) == "VOC2012"
    assert name_data_set({"scenes": {"train": 3}}) == "rendered scenes"


@pytest.mark.parametrize("names", [None, ["inference"]])
def test_the_workflow_page_of_kedro_viz_hears_of_whole_runs_only(names, monkeypatch):
    viz = PipelineRunStatusHook()
    monkeypatch.setattr(summary, "pipeline_run_hook", viz)
    manager = _create_hook_manager()
    described = RunSummary()
    described.context = SimpleNamespace(resumed=None)
    manager.register(described)
    manager.register(viz)  # the later one is called first, but for `trylast`
    manager.hook.before_pipeline_run(
        run_params={"pipeline_names": names}, pipeline=Pipeline([]), catalog=DataCatalog()
    )
    assert viz._should_collect_events == (names is None)
