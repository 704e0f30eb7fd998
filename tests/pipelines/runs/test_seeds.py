"""Mean and spread of scores over seeds."""

import json

import mlflow
import pandas as pd
import pytest
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from affinitynet.__main__ import main
from affinitynet.runs.seeds import summarise
from affinitynet.runs.session import RunSession
from tests.conftest import PROJECT


def test_means_and_deviations_of_the_scores_that_all_seeds_have():
    summary = summarise(
        {
            0: {"cam.iou.cat": 0.5, "segmentation.miou": 0.25, "cam.miou": 0.5, "lost": 1.0},
            3: {"cam.iou.cat": 0.7, "segmentation.miou": 0.75, "cam.miou": 0.5},
        }
    ).set_index("score")
    assert [*summary.index] == ["cam.miou", "segmentation.miou", "cam.iou.cat"]
    assert summary["mean"].tolist() == pytest.approx([0.5, 0.5, 0.6])
    assert summary["std"].tolist() == pytest.approx([0, 0.125**0.5, 0.02**0.5])
    assert summary["seed 3"].tolist() == [0.5, 0.75, 0.7]


def test_one_seed_has_no_deviation():
    assert summarise({0: {"cam.miou": 0.5}})["std"].isna().all()


@pytest.fixture
def seeds(monkeypatch, capsys):
    """`kedro seeds` with these options: the exit status and the output."""
    monkeypatch.chdir(PROJECT)

    def seeds(*options):
        with pytest.raises(SystemExit) as exit_:
            main("seeds", *options)
        output = capsys.readouterr()
        return exit_.value.code or 0, output.out + output.err

    return seeds


def test_runs_of_seeds_lie_below_one_that_has_their_means(seeds, finished_copy):
    options = finished_copy.options("--pipelines", "affinity_training,revision")
    status, output = seeds("--seeds", "4,5", *options)
    assert status == 0, output
    assert "revision.random_walk_miou" in output
    assert "±" in output
    mlflow.set_tracking_uri(f"sqlite:///{finished_copy.folder}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True)
    (parent,) = runs[runs["tags.mlflow.runName"].str.startswith("2 seeds of ")].to_dict("records")
    children = runs[runs[f"tags.{MLFLOW_PARENT_RUN_ID}"] == parent["run_id"]]
    assert {*children["params.seed"]} == {"4", "5"}
    scores = children["metrics.revision.random_walk_miou"]
    assert parent["metrics.revision.random_walk_miou"] == pytest.approx(scores.mean())
    assert parent["metrics.revision.random_walk_miou.std"] == pytest.approx(scores.std())
    table = json.loads(mlflow.artifacts.load_text(f"runs:/{parent['run_id']}/seeds.json"))
    assert pd.DataFrame(**table)["score"].is_unique


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "one"), "one: give numbers separated by commas"),
        (("--params", "seed=3"), "--params seed: not with `seeds`"),
        (("--params", "resume=true"), "--params resume: not with `seeds`"),
    ],
)
def test_wrong_options_are_refused(seeds, options, message):
    status, output = seeds(*options)
    assert status != 0
    assert message in output


def test_interrupted_seeds_say_how_to_go_on(seeds, project, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunSession, "run", interrupt)
    status, output = seeds("--seeds", "4,5", *project.options())
    assert status == 130
    assert "finish seed 4 with kedro run" in output
    assert "seed=4,resume=true" in output
    assert "Traceback" not in output
