"""The command line, in this process where that will do."""

import pytest
import yaml
from kedro.framework.cli.cli import KedroCLI

from affinitynet.__main__ import main
from affinitynet.errors import UserError
from affinitynet.runs.session import RunSession
from tests.conftest import PROJECT


@pytest.fixture
def run(monkeypatch, capsys):
    """`kedro run` with these options: the exit status and what was said."""
    monkeypatch.chdir(PROJECT)

    def run(*options):
        with pytest.raises(SystemExit) as exit_:
            main(*options)
        said = capsys.readouterr()
        return exit_.value.code or 0, said.out + said.err

    return run


@pytest.fixture
def output_of(monkeypatch, capsys):
    """A command of `kedro` that ends well: what it prints."""
    monkeypatch.chdir(PROJECT)

    def output_of(*command):
        with pytest.raises(SystemExit) as exit_:
            KedroCLI(PROJECT).main(command)
        assert not exit_.value.code
        return capsys.readouterr().out

    return output_of


def test_the_commands_of_kedro_mlflow_are_still_there(output_of):
    assert "--port" in output_of("mlflow", "ui", "--help")


def test_pipelines_are_listed(output_of):
    assert set(yaml.safe_load(output_of("registry", "list"))) == {
        "__default__",
        "scenes",
        "ingestion",
        "cam",
        "affinity_labels",
        "affinity_training",
        "revision",
        "segmentation",
        "tagged_masks",
        "tag_check",
        "import_maps",
        "segmentation_from_masks",
        "self_training",
        "reporting",
        "export",
        "search",
        "inference",
        "labels_export",
        "submission",
        "download",
    }


def test_tags_and_versions(run, finished_copy):
    version = finished_copy.record()["version"]
    options = ("--tags", "scoring", "--load-versions", f"cam.maps:{version}")
    assert run(*finished_copy.options(*options))[0] == 0
    assert finished_copy.record()["nodes"] == [
        "affinity_labels.score",
        "cam.score",
        "revision.score",
        "segmentation.score",
        "tagged_masks.compare",
    ]
    assert finished_copy.record()["inputs"]["cam.maps"] == version


def test_a_pipeline_from_one_of_its_nodes(run, finished_copy):
    options = finished_copy.options("--pipeline", "revision", "--from-nodes", "revision.refine")
    assert run(*options)[0] == 0
    assert finished_copy.record()["nodes"] == ["revision.refine", "revision.score"]


def test_parameters_by_their_full_names(run, finished_copy):
    parameters = {"cam.thresholds": "[0.25]"}
    options = ("--from-nodes", "cam.score", "--to-nodes", "cam.score")
    assert run(*finished_copy.options(*options, parameters=parameters))[0] == 0
    assert finished_copy.record()["parameters"]["cam.thresholds"] == [0.25]
    assert finished_copy.metrics()["cam"]["threshold"] == 0.25


def test_errors_of_the_user_are_reported_without_a_traceback(run, project):
    status, said = run(*project.options("--pipeline", "revision"))
    assert status == 1
    assert "kedro run --env test --pipeline cam" in said
    assert "Traceback" not in said


def test_problems_with_the_data_are_reported_once(run, project):
    parameters = {"images": str(project.folder / "none"), "tags": str(project.folder / "t.csv")}
    options = project.options("--pipeline", "ingestion", env="tagged", parameters=parameters)
    status, said = run(*options)
    assert status == 1
    assert said.count("problem") == 1, said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pipelines", "revison"), "--pipelines revison: there is none of this name; did you"),
        (("--nodes", "revision.scor"), "--nodes revision.scor: there is none of this name; did"),
        (("--from-nodes", "xyz"), "--from-nodes xyz: there is none of this name; there are "),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(run, project, options, message):
    status, said = run(*project.options(*options))
    assert status == 1
    assert message in said
    assert "Traceback" not in said
    assert not project.records


def _full():
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        try:
            raise RuntimeError("[enforce fail at inline_container.cc:672]") from error
        except RuntimeError as both:
            return both


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. What was finished is kept"),
        (_full(), 1, "The disk is full. Make room"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), 1, "The disk is"),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(run, project, monkeypatch, error, expected, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(RunSession, "run", fail)
    status, said = run(*project.options())
    assert status == expected
    assert message in said
    assert "--params resume=true" in said
    assert "Traceback" not in said


def test_an_unknown_environment_is_reported(run, project):
    status, said = run(*project.options(env="vok"))
    assert status == 1
    assert "--env vok: there is no folder conf/vok; give base, " in said
    assert "voc_cpu" in said
    assert "Traceback" not in said


WRONG = {
    "revision.random_walk.betta": (3, "did you mean revision.random_walk.beta?"),
    "revison.confidence": (0.5, "did you mean revision?"),
    "segmentation.inference.crf.srbg": (13, "did you mean segmentation.inference.crf.srgb?"),
    "cam.training.epoch": (3, "did you mean cam.training.epochs?"),
    "segmentation.training.cache_megabyte": (3, "training.cache_megabytes?"),
    "cam.augmentation.hues": (0.1, "did you mean cam.augmentation.hue?"),
    "execution.engin": ("ray", "did you mean execution.engine?"),
    "cam.network.head.drop_out": (0.1, "did you mean cam.network.head.dropout?"),
    "affinity_training.network.head.norm": (1, "network.head.norm: no such parameter"),
    "segmentation.network.backbone.levls": ([-1], "segmentation.network.backbone.levels?"),
    "revision.confidence": (1.5, "revision.confidence is 1.5; it must be less than 1"),
    "affinity_training.radius": (0, "affinity_training.radius is 0; it must be greater than"),
    "seed": ("abc", "seed is 'abc'; it must be a whole number"),
    "cam.thresholds": ([], "cam.thresholds is []; it must have 1 or more entries"),
    "affinity_labels.alphas.low": (5, "affinity_labels.alphas: low is 5, above"),
    "scenes.train": (-3, "scenes.train is -3; it must be greater than 0"),
    "masks": ("", "masks is ''; it must be more than an empty"),
    "mask_folder": ("", "mask_folder is ''; it must be more than an empty"),
    "execution.device": ("gpu", "execution.device is 'gpu'; it must be auto, cpu, cuda or cuda:<n"),
    "revision.random_walk.beta": ("abc", "beta is 'abc'; it must be a number"),
    "execution.workers": (-1, "execution.workers is -1"),
}


@pytest.mark.parametrize(
    "wrong",
    [
        WRONG,
        {
            "seed": (-1, "seed is -1; it must be greater than or equal to 0"),
            "affinity_training.radius": (1, "affinity_training.radius is 1; it must be greater"),
        },
        {"affinity_training.radius": ("null", "radius is null; it must be a whole")},
        {"execution.device": ("cuda:99", "CUDA device")},
    ],
)
def test_wrong_parameters_are_reported_at_the_start(run, project, wrong):
    parameters = {name: value for name, (value, _) in wrong.items()}
    status, said = run(*project.options("--pipeline", "scenes", parameters=parameters))
    assert status == 1
    said = " ".join(said.split())
    assert [message for _, message in wrong.values() if message not in said] == []
    assert "Traceback" not in said
    assert not project.records


def test_what_a_class_alone_has_a_name_for_is_known(run, project):
    parameters = {
        "cam.training.warmup": 0.1,
        "segmentation.network.head.dropout": 0.2,
        "affinity_training.network.backbone.std": "[1, 1, 1]",
        "segmentation.inference.crf.srgb": 13,
    }
    status, said = run(*project.options("--pipeline", "scenes", parameters=parameters))
    assert status == 0, said


def test_supervision_by_masks_names_its_pipeline(run, project):
    parameters = {"segmentation.supervision": "masks"}
    status, said = run(*project.options(parameters=parameters))
    assert status == 1
    wanted = "segmentation.supervision is 'masks'; it must be left out; to train on the masks: "
    assert f"{wanted}kedro run --pipeline segmentation_from_masks" in " ".join(said.split())


@pytest.mark.parametrize(
    ("parameters", "messages"),
    [
        (
            {"execution.workers": -1, "cam.training.epochs": -1, "cam.augmentation.crop": 0},
            ["execution.workers", "training.epochs", "augmentation.crop"],
        ),
        ({"cam.training.epochs": "two"}, ["training.epochs"]),
        ({"segmentation.training.frozen": ["backbon"]}, ["did you mean backbone?"]),
    ],
)
def test_parameters_out_of_range_are_named_before_anything_runs(project, parameters, messages):
    with pytest.raises(UserError) as error:
        project.run(parameters=parameters)
    assert all(message in str(error.value) for message in messages)
    assert not project.records
