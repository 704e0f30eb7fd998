"""The search of stage 4's parameters: its grid in one pass, and its run after the default one."""

import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.framework.project import pipelines

from affinitynet.core.affinity import pair_affinities
from affinitynet.core.cams import with_background
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.images import upsample
from affinitynet.core.random_walk import propagate
from affinitynet.data.corrections import Corrected
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.parameters import (
    CRFSpace,
    PositiveRange,
    ProbabilityRange,
    Range,
    RefinementSpace,
    SearchRefine,
)
from affinitynet.pipelines.search import nodes
from affinitynet.pipelines.search.nodes import (
    choose_photos,
    report_trials,
    search_walks,
)
from affinitynet.pipelines.search.settings import suggest
from affinitynet.stages.parameters import AutoRandomWalk, Refinement, Vote, WalkSpace
from affinitynet.stages.revision import photo_walks
from tests.conftest import SharedProject

SPACE = WalkSpace(alpha=(1, 4.0, 16), beta=(2, 8), steps=(0, 3, 64))
WALK = AutoRandomWalk(
    alpha=1,
    beta=8,
    steps=64,
    radius=5,
    long_side=None,
    output_stride=8,
    batch_size=1,
    bfloat16=False,
)
RANGES = {"crf.srgb": Range(low=3.0, high=30.0, log=True), "crf.iterations": (2, 5)}
SEARCHED = ["alpha", "beta", "steps"]
NESTED = {"search.nested_runs": True}


@pytest.fixture(scope="session")
def searched(finished_run, made_once):
    """The finished project after a search; not to be changed."""
    return SharedProject(
        made_once(
            "searched", lambda folder: finished_run.copy(folder).run("search", parameters=NESTED)
        )
    )


def scene(seed=0):
    """Affinities of an 8 x 9 grid, its features, and two CAMs of 4 x 5 cells."""
    generator = torch.Generator().manual_seed(seed)
    features = 2 * torch.rand(5, 8, 9, generator=generator)
    cams = torch.rand(2, 4, 5, generator=generator).half().numpy()
    return pair_affinities(features[None])[0].half().numpy(), features, cams


LABELS = np.array([1, 2], np.uint8)


def test_the_grid_in_one_pass_equals_the_walks_one_by_one():
    affinities, features, cams = scene()
    tried = [*photo_walks(affinities, ClassMaps(LABELS, cams), SPACE.settings(), radius=5)]
    assert len(tried) == len(SPACE.settings()) == 18
    for maps, (alpha, beta, steps) in zip(tried, SPACE.settings(), strict=True):
        scores = with_background(torch.from_numpy(upsample(cams, (8, 9))), alpha)
        expected = propagate(scores, features, beta=beta, steps=steps)
        assert maps.maps.dtype == np.float16
        np.testing.assert_allclose(maps.maps, expected, atol=2e-3)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_setting_is_scored_on_the_sum_of_all_photos(workers):
    read, masks, walked = {}, {}, {}
    for seed, image_id in enumerate("ab"):
        affinities, _, cams = scene(seed)
        read[image_id] = (affinities, cams)
        masks[image_id] = Stored(np.random.default_rng(seed).choice([0, 7, 9, 255], (16, 18)))
        walked[image_id] = [
            *photo_walks(affinities, ClassMaps(LABELS, cams), SPACE.settings(), radius=5)
        ]
    trials = search_walks(
        {i: Stored({"affinities": affinities}) for i, (affinities, _) in read.items()},
        {i: Stored(ClassMaps(LABELS, cams)) for i, (_, cams) in read.items()},
        masks,
        {"cat": 7, "dog": 9},
        SPACE,
        WALK,
        Execution(workers=workers, device="cpu"),
    )
    columns = trials[[f"revision.random_walk.{name}" for name in SEARCHED]]
    assert [*columns.itertuples(index=False, name=None)] == SPACE.settings()
    for number, miou in enumerate(trials["miou"]):
        truth = np.concatenate([masks[i]().ravel() for i in "ab"])
        found = np.concatenate([walked[i][number].argmax((16, 18)).ravel() for i in "ab"])
        found = np.array([0, 7, 9])[found]
        of_class = [
            ((truth == value) & (found == value)).sum()
            / (((truth == value) | (found == value)) & (truth != 255)).sum()
            for value in (0, 7, 9)
        ]
        assert miou == pytest.approx(np.mean(of_class))


class Stored:
    """A reader that other processes can have."""

    def __init__(self, value):
        self.value = value

    def __call__(self):
        return self.value


def index_of(**columns):
    return pd.DataFrame(columns, index=pd.Index([*"abcdef"], name="id"))


def test_only_tagged_training_photos_with_a_mask_are_drawn():
    index = index_of(
        split=["train", "train", "val", "train", "train", "train"],
        tags=["cat", "dog", "cat", "", "cat|dog", "dog"],
    )
    masks = dict.fromkeys("abcdf", Stored(None))
    assert [*choose_photos(index, masks, None, 0, Corrected()).index] == [*"abf"]
    assert [*choose_photos(index, masks, 99, 0, Corrected()).index] == [*"abf"]
    drawn = [tuple(choose_photos(index, masks, 2, seed, Corrected()).index) for seed in range(9)]
    assert {len(ids) for ids in drawn} == {2}
    assert all([*ids] == sorted(ids) for ids in drawn)
    assert len({*drawn}) > 1
    assert drawn == [
        tuple(choose_photos(index, masks, 2, seed, Corrected()).index) for seed in range(9)
    ]


def test_nothing_to_score_is_said():
    index = index_of(split=["val"] * 6, tags=["cat"] * 6)
    with pytest.raises(UserError, match="no training photo has both a tag and a mask"):
        choose_photos(index, dict.fromkeys("abcdef", Stored(None)), None, 0, Corrected())


def suggested(trials=8, seed=0, present=None):
    found = []
    for setting, tell in suggest(
        RANGES, present or {"crf.srgb": 13, "crf.iterations": 10}, trials, seed
    ):
        tell(-abs(setting["crf.srgb"] - 5))
        found.append(setting)
    return found


def test_settings_start_at_the_present_ones_and_stay_in_the_space():
    found = suggested()
    assert found[0]["crf.srgb"] == 13
    assert all(3 <= setting["crf.srgb"] <= 30 for setting in found)
    assert {setting["crf.iterations"] for setting in found} == {2, 5}
    assert suggested(1, present={"crf.srgb": 99, "crf.iterations": 5})[0]["crf.iterations"] == 5


def test_the_sampler_is_seeded_and_learns():
    assert suggested(seed=1) == suggested(seed=1) != suggested(seed=2)
    late = [setting["crf.srgb"] for setting in suggested(40)[-10:]]
    assert np.median(np.abs(np.array(late) - 5)) < 2


def test_without_optuna_the_command_is_named_and_the_walk_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install affinitynet\[search\]"):
        suggested()
    assert suggested(0) == []


def trials_of(stage, rows):
    return pd.DataFrame(rows).rename(columns=lambda name: name if name == "miou" else stage + name)


def test_the_best_parameters_become_a_parameters_file(caplog):
    walk = trials_of(
        "revision.random_walk.",
        [
            {"alpha": 1.0, "beta": 8, "steps": 64, "miou": 0.5},
            {"alpha": 4.0, "beta": 8, "steps": 16, "miou": 0.6},
            {"alpha": 4.0, "beta": 8, "steps": 64, "miou": 0.6},
        ],
    )
    refine = trials_of(
        "revision.",
        [
            {"crf.srgb": 9.5, "confidence": 0.6, "miou": 0.61},
            {"crf.srgb": 5.5, "confidence": 0.9, "miou": 0.55},
        ],
    )
    cams = trials_of("cam.", [{"thresholds": 0.2, "miou": 0.3}, {"thresholds": 0.3, "miou": 0.4}])
    sample = pd.DataFrame(index=range(80))
    space = RefinementSpace(
        crf=CRFSpace(srgb=PositiveRange(low=3.0, high=30.0)),
        confidence=ProbabilityRange(low=0.595, high=0.95),
    )
    search = SearchRefine(trials=2, patience=None, space=space)
    trials, text = report_trials(sample, cams, walk, refine, SPACE, search)
    assert [message.split(",")[0] for message in caplog.messages if "edge" in message] == [
        "The best revision.random_walk.beta",
        "The best revision.confidence",
    ]
    best_walk = {"alpha": 4.0, "beta": 8, "steps": 16}
    assert yaml.safe_load(text) == {
        "revision": {"random_walk": best_walk, "crf": {"srgb": 9.5}, "confidence": 0.6},
    }
    assert text.startswith(
        "# Found by search on 80 training photos: mIoU 0.400 of the CAMs at the background "
        "threshold 0.3, "
        "0.600 after the random walk, 0.610 of the pseudo labels.\n"
    )
    assert trials["stage"].tolist() == ["cam"] * 2 + ["walk"] * 3 + ["refine"] * 2
    assert (trials.loc[5:, "revision.random_walk.steps"] == 16).all()  # what they were tried on
    assert trials.loc[:4, "revision.crf.srgb"].isna().all()
    assert trials.loc[2:, "cam.thresholds"].isna().all()

    _, text = report_trials(sample, cams, walk, pd.DataFrame({"miou": []}), SPACE, search)
    assert yaml.safe_load(text) == {
        "revision": {"random_walk": best_walk},
    }


def test_an_averaged_walk_that_is_the_best_stays_auto():
    names = ("alpha", "beta", "steps", "miou")
    rows = [dict(zip(names, row, strict=True)) for row in ((2, 8, 64, 0.5), (*[np.nan] * 3, 0.6))]
    walk = trials_of("revision.random_walk.", rows)
    cams = trials_of("cam.", [{"thresholds": 0.2, "miou": 0.3}])
    nothing, sample = pd.DataFrame({"miou": []}), pd.DataFrame(index=range(9))
    search = SearchRefine(trials=2, patience=None, space=RefinementSpace())
    _, text = report_trials(sample, cams, walk, nothing, SPACE, search)
    auto = dict.fromkeys(SEARCHED, "auto")
    assert yaml.safe_load(text) == {"revision": {"random_walk": auto}}


def test_it_is_no_part_of_the_road():
    built = register_pipelines()
    assert not {node.name for node in built["search"].nodes} & {
        node.name for node in built["__default__"].nodes
    }
    assert {node.name for node in built["search"].nodes if "masks" in node.inputs} == {
        node.name for node in built["search"].nodes if "scoring" in node.tags
    }


def test_it_tries_every_setting_of_the_walk_and_as_many_refinements_as_asked(searched):
    trials = searched.catalog().load("search.trials")
    assert trials["stage"].tolist() == ["cam"] * 2 + ["walk"] * 9 + ["refine"] * 3
    assert trials["miou"].between(0, 1).all()
    searched_of_crf = {name for name in trials if name.startswith("revision.crf.")}
    assert searched_of_crf == {
        f"revision.crf.{name}"
        for name in ("sxy_gaussian", "sxy_bilateral", "srgb", "compat_bilateral")
    }
    first = trials[trials["stage"] == "refine"].iloc[0]
    assert first["revision.crf.srgb"] == 13  # the present value
    assert first["revision.confidence"] == 0.7


def test_it_looks_at_training_photos_alone(searched):
    catalog = searched.catalog()
    index = catalog.load("index")
    for name in ("search.affinities", "search.maps"):
        ids = catalog.load(name).keys()
        assert len(ids) == 8
        assert {*index.loc[[*ids], "split"]} == {"train"}


def test_a_search_without_val_finds_the_same(finished_copy, searched):
    """Masks of val are made unreadable: none of them is read."""
    catalog = finished_copy.catalog()
    index = catalog.load("index")
    masks = catalog.get("masks")._get_load_path()
    for image_id in index.index[index["split"] == "val"]:
        (finished_copy.data / f"{masks}/{image_id}.png").write_bytes(b"no mask")
    finished_copy.run("search")
    found = finished_copy.catalog().load("search.trials")
    pd.testing.assert_frame_equal(found, searched.catalog().load("search.trials"))
    run = finished_copy.record()["mlflow_run"]  # it has a table, and no runs below it
    assert not finished_copy.query(
        f"select * from tags where key = 'mlflow.parentRunId' and value = '{run}'"
    )
    mlflow.set_tracking_uri(f"sqlite:///{finished_copy.folder}/mlflow.db")
    assert len(mlflow.load_table("search.trials.json", run_ids=[run])) == len(found)


def test_its_scores_are_those_of_the_stage_at_these_settings(searched, tmp_path):
    """Of all twelve training photos, at what the search found best."""
    project = searched.copy(tmp_path / "all")
    project.run("search", parameters={"search.images": None})
    trials = project.catalog().load("search.trials")
    curve = project.catalog().load("cam.threshold_curve").set_index("threshold")["miou"]
    tried = trials[trials["stage"] == "cam"].set_index("cam.thresholds")["miou"]
    assert tried.to_dict() == pytest.approx(curve[[0.2, 0.4]].to_dict())
    parameters = {}
    best = yaml.safe_load(project.catalog().load("search.best"))["revision"]
    for name in ("random_walk", "crf"):
        parameters |= {f"revision.{name}.{key}": value for key, value in best[name].items()}
    project.run("revision", parameters=parameters | {"revision.confidence": best["confidence"]})
    scores = project.metrics()["revision"]
    best = trials.groupby("stage")["miou"].max()
    assert scores["random_walk_miou"] == pytest.approx(best["walk"], abs=2e-3)
    assert scores["pseudo_label_miou"] == pytest.approx(best["refine"], abs=2e-3)


def test_every_trial_is_a_nested_run(searched):
    trials = searched.catalog().load("search.trials")
    parent = searched.record()["mlflow_run"]
    children = [
        run
        for (run,) in searched.query(
            "select run_uuid from tags "
            f"where key = 'mlflow.parentRunId' and value = '{parent}' order by run_uuid"
        )
    ]
    assert len(children) == len(trials) == 14
    found = []
    for child in children:
        where = f"where run_uuid = '{child}'"
        assert searched.query(f"select status from runs {where}") == [("FINISHED",)]
        parameters = dict(searched.query(f"select key, value from params {where}"))
        ((key, miou),) = searched.query(f"select key, value from metrics {where}")
        assert key == "miou"
        found.append(parameters | {"miou": str(miou)})
    expected = [
        {name: str(value) for name, value in row.items() if pd.notna(value)}
        for row in trials.to_dict("records")
    ]
    assert sorted(map(str, map(sorted, map(dict.items, found)))) == sorted(
        map(str, map(sorted, map(dict.items, expected)))
    )
    artifacts = {path.name for path in (searched.folder / "artifacts").rglob("*.*")}
    assert {"search.trials.csv", "search.best.yml"} <= artifacts


def test_a_search_goes_on_where_it_was_interrupted(searched, tmp_path):
    """It takes the very photos that it had drawn, and no trial is reported twice."""
    project = searched.copy(tmp_path / "copy")
    record = project.record()
    text = project.records[-1].read_text()
    project.records[-1].write_text(text.replace(f'"{record["finished"]}"', "null"))
    catalog = project.catalog()
    expected = catalog.load("search.trials")
    folder = project.data / str(catalog.get("search.affinities")._get_load_path())
    folder.with_name("affinities.complete.json").unlink()
    for item in sorted(folder.iterdir())[3:]:
        item.unlink()
    for name in (
        "search.cam_trials",
        "search.walk_trials",
        "search.refine_trials",
        "search.trials",
        "search.best",
    ):
        (project.data / str(catalog.get(name)._get_load_path())).unlink()
    maps = project.data / str(catalog.get("search.maps")._get_load_path())
    maps.with_name("maps.complete.json").unlink()
    project.run("search", parameters={"resume": True, **NESTED})
    assert len([*folder.iterdir()]) == 8
    pd.testing.assert_frame_equal(project.catalog().load("search.trials"), expected)
    runtime_params = project.query(
        "select count(*) from runs join tags using (run_uuid) "
        "where key = 'mlflow.parentRunId' and lifecycle_stage = 'active' "
        f"and value = '{record['mlflow_run']}'"
    )
    assert runtime_params == [(len(expected),)]


@pytest.mark.parametrize(("patience", "made"), [(None, 9), (4, 6)])
def test_refinements_end_when_nothing_is_gained(monkeypatch, patience, made):
    scores = iter([0.4, 0.5, 0.5005, 0.49, 0.5, 0.4, 0.6, 0.4, 0.4])
    monkeypatch.setattr(nodes, "per_image", lambda *_: None)
    monkeypatch.setattr(nodes, "_score", lambda *_: next(scores))
    space = RefinementSpace(confidence=ProbabilityRange(low=0.5, high=0.9))
    trials = nodes.search_refinements(
        *({},) * 4,
        SearchRefine(trials=9, patience=patience, space=space),
        Refinement(Vote(), crf=CRFParameters(), confidence=0.7, long_side=None),
        Execution(device="cpu"),
    )
    assert len(trials) == made


def test_one_parameter_takes_the_best_values_over(searched, tmp_path):
    best = yaml.safe_load(searched.catalog().load("search.best"))["revision"]
    given = {"best": "newest", "revision.crf.srgb": 7.0}
    taken = searched.session(parameters=given).load_context().raw_parameters["revision"]
    assert {name: taken["random_walk"][name] for name in SEARCHED} == best["random_walk"]
    assert taken["crf"] == taken["crf"] | best["crf"] | {"srgb": 7.0}
    assert taken["confidence"] == best["confidence"]
    other = tmp_path / "other.yml"
    other.write_text("cam: {thresholds: [0.2]}")
    for wrong, message in (("none.yml", "cannot be read"), (other, "no best.yml of a search")):
        with pytest.raises(UserError, match=message):
            searched.session(parameters={"best": str(wrong)}).load_context()


def test_without_a_search_there_is_no_best(empty_project):
    with pytest.raises(UserError, match="kedro run --pipeline search"):
        empty_project.session(parameters={"best": "newest"}).load_context()


def test_the_walk_alone_needs_no_optuna(finished_copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    finished_copy.run("search", parameters={"search.refine.trials": 0})
    trials = finished_copy.catalog().load("search.trials")
    assert [*trials] == [
        "stage",
        "cam.thresholds",
        *(f"revision.random_walk.{name}" for name in SEARCHED),
        "miou",
    ]
    runs = len(finished_copy.records)
    with pytest.raises(UserError, match=r"affinitynet\[search\]"):
        finished_copy.run("search")
    assert len(finished_copy.records) == runs  # it was refused before its first node


def test_an_unknown_parameter_is_named(finished_copy):
    with pytest.raises(UserError, match=r"did you mean search\.refine\.space\.crf\.srgb\?"):
        finished_copy.run("search", parameters={"search.refine.space.crf.rgb": [1]})
    assert "search" in pipelines
