"""Interrupted at any moment, a run goes on with `resume=true` and ends with the same files."""

import json
import shutil
import signal
import time

import pytest
from kedro.framework.project import pipelines
from kedro.runner import ParallelRunner, ThreadRunner
from PIL import Image

from affinitynet.__main__ import main
from affinitynet.datasets.partitions import MARKER_SUFFIX
from affinitynet.errors import UserError
from tests.conftest import PROJECT, SharedProject
from tests.system.test_lock import hold


def kill_when(process, project, pattern):
    """Kill a run with SIGKILL once a file of this pattern is there."""
    deadline = time.monotonic() + 600
    while not any(project.data.glob(pattern)):
        assert process.poll() is None, f"ended without {pattern}:\n{process.stdout.read()}"
        assert time.monotonic() < deadline, f"never saw {pattern}"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def files(project):
    """What the stages made, but for the records: relative path to when it was written."""
    return {
        path.relative_to(project.data): path.stat().st_mtime_ns
        for path in project.data.rglob("*.*")
        if path.is_file() and "runs" not in path.parts
    }


def contents(project):
    """The same, to what is in the files; checkpoints and figures apart."""
    kinds = (".json", ".csv", ".png", ".safetensors")
    return {
        path: (project.data / path).read_bytes()
        for path in files(project)
        if (path.suffix in kinds and path.parts[0] != "08_reporting") or path.name == "metrics.json"
    }


def complete(project):
    """Files that are written once: scores, and items whose node was confirmed."""
    markers = project.data.rglob(f"*{MARKER_SUFFIX}")
    folders = {str(path).removesuffix(MARKER_SUFFIX) for path in markers}
    return {
        path: moment
        for path, moment in files(project).items()
        if path.name == "metrics.json" or str((project.data / path).parent) in folders
    }


@pytest.mark.long
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_scores(project, finished_run):
    """Whatever the number of processes."""
    kills = (
        "06_models/test/cam/checkpoints/*/checkpoints/0001.pt",  # between two epochs
        "05_model_input/test/affinity_labels/labels/*/labels/*.png",  # among the images
    )
    kept = {}
    for number, pattern in enumerate(kills):
        parameters = {"resume": "true"} if number else {}
        kill_when(project.start(parameters=parameters), project, pattern)
        assert kept.items() <= files(project).items()
        kept = complete(project)
    project.run(parameters={"resume": True, "execution.workers": 2})
    assert kept.items() <= files(project).items()  # nothing finished was made again
    assert project.metrics() == finished_run.metrics()
    (record,) = project.records
    assert json.loads(record.read_text())["finished"]
    assert project.query("select status, count(*) from runs") == [("FINISHED", 1)]
    assert project.query("select key from metrics where key = 'segmentation.miou'")


def interrupt(project, name, *, items=None, spare=()):
    """Take a finished run back to the moment before a dataset was complete.

    All that is made later is removed, as a run that was killed would not have made it.

    Args:
        name: The dataset.
        spare: Of datasets whose names begin so nothing is removed.
        items: Items of it that have been written, as far as the run had got; None for nothing.
    """
    record = project.record()
    project.records[-1].write_text(json.dumps(record | {"finished": None}))
    catalog = project.catalog()
    later = [output for node in pipelines["__default__"].nodes for output in node.outputs]
    for output in later[later.index(name) :]:
        if output.startswith(tuple(spare)):
            continue
        path = catalog.get(output)._get_versioned_path(record["version"])
        folder = project.data / path
        folder.with_name(folder.name + MARKER_SUFFIX).unlink(missing_ok=True)
        if output == name and items is not None:
            for item in sorted(folder.iterdir())[items:]:
                item.unlink()
            (folder / "half.png.1234.part").write_bytes(b"half")
        elif folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)  # of a node that no parameter asked for
    return project


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("masks", 5),  # rendered, but not all folders confirmed
        ("cam.checkpoints", 1),
        ("cam.history", None),  # the other output of its node is there
        ("affinity_labels.labels", 5),
        ("affinity_training.checkpoints", 2),  # all epochs, but not confirmed
        ("revision.maps", 5),
        ("revision.labels", None),  # between two nodes
        ("segmentation.predictions", 2),
    ],
)
def test_a_run_goes_on_wherever_it_was_interrupted(finished_copy, finished_run, name, items):
    # the report and the export, which take long, are made again where all is
    spare = () if name == "masks" else ("reporting.", "export.")
    kept = files(interrupt(finished_copy, name, items=items, spare=spare))
    finished_copy.run(parameters={"resume": True, "execution.worker_cpus": 2})
    made = files(finished_copy)
    assert {path for path in made if path.suffix != ".part"} == {*files(finished_run)}
    assert contents(finished_copy) == contents(finished_run)
    for path, moment in kept.items():
        if path.suffix in (".png", ".safetensors", ".json") and path.parts[0] != "01_raw":
            assert made[path] == moment, f"{path} was made again"


def test_a_run_that_had_made_everything_is_only_closed(finished_copy):
    before = files(finished_copy)
    record = finished_copy.record()
    finished_copy.records[-1].write_text(json.dumps(record | {"finished": None}))
    finished_copy.run(parameters={"resume": True})
    assert files(finished_copy) == before
    assert finished_copy.record()["finished"]


def test_data_and_resume_may_be_given_otherwise(finished_copy):
    record = finished_copy.record()
    finished_copy.records[-1].write_text(json.dumps(record | {"finished": None}))
    same = f"{finished_copy.folder}/../{finished_copy.folder.name}/data"
    finished_copy.run(parameters={"resume": True, "data": same})
    assert finished_copy.record()["finished"]


def fail_late(project, *, parameters=None, **options):
    """Leave an unfinished run: its second node fails."""

    def fail(*_):
        raise ValueError("late")

    given = {"revision.confidence": 0.9, "execution.workers": 1} | (parameters or {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("affinitynet.stages.refinement.refine", fail)
        with pytest.raises(ValueError, match="late"):
            project.run("revision", parameters=given, **options)


@pytest.fixture(scope="session")
def unfinished_run(finished_run, made_once):
    """The finished project with an unfinished run beside; not to be changed."""
    return SharedProject(
        made_once("unfinished", lambda folder: fail_late(finished_run.copy(folder)))
    )


@pytest.fixture
def unfinished_copy(unfinished_run, tmp_path):
    """A copy of the project with an unfinished run, to be changed at will."""
    return unfinished_run.copy(tmp_path / "copy")


def test_parameters_that_differ_are_named(unfinished_copy):
    with pytest.raises(UserError) as error:
        unfinished_copy.run("revision", parameters={"resume": True, "cam.training.epochs": 9})
    for line in (
        "parameter cam.training.epochs: was 2, is 9",
        "parameter revision.confidence: was 0.9, is 0.7",
    ):
        assert f"\n  {line}" in str(error.value)
    with pytest.raises(UserError, match="cannot be resumed"):
        unfinished_copy.run("revision", parameters={"resume": True})
    assert unfinished_copy.query("select count(*) from runs where status = 'RUNNING'") == [(0,)]


def test_a_resumed_run_reads_the_inputs_that_it_began_with(unfinished_copy):
    former, path = unfinished_copy.records[0].stem, unfinished_copy.records[1]
    unfinished_copy.run("affinity_training")
    fail_late(unfinished_copy, parameters={"resume": True})
    assert json.loads(path.read_text())["inputs"]["affinity_training.model"] == former
    newer = {"affinity_training.model": unfinished_copy.record()["version"]}
    again = {"revision.confidence": 0.9, "resume": True}
    with pytest.raises(UserError, match=rf"input affinity_training.model: was {former}, is "):
        unfinished_copy.run("revision", parameters=again, load_versions=newer)


def test_a_run_that_is_still_going_on_is_not_resumed(finished_copy):
    record = finished_copy.record()
    finished_copy.records[-1].write_text(json.dumps(record | {"finished": None}))
    process, message = hold(finished_copy.records[-1].parent, record["version"])
    assert message == "held"
    with pytest.raises(UserError, match=r"still going on, in the process \d+ of "):
        finished_copy.run(parameters={"resume": True})
    assert not finished_copy.record()["finished"]
    process.kill()
    process.wait()
    finished_copy.run(parameters={"resume": True})
    assert finished_copy.record()["finished"]
    assert not [*finished_copy.records[-1].parent.glob("*.lock")]


def test_of_two_that_resume_at_once_one_goes_on(finished_copy):
    record = finished_copy.record()
    finished_copy.records[-1].write_text(json.dumps(record | {"finished": None}))
    (path,) = finished_copy.data.glob("08_reporting/test/segmentation/metrics.json/*/*")
    path.unlink()
    both = [finished_copy.start(parameters={"resume": "true"}) for _ in range(2)]
    ended = sorted((run.communicate(timeout=600)[0], run.returncode) for run in both)
    assert sorted(code for _, code in ended) == [0, 1]
    (message,) = (" ".join(text.split()) for text, code in ended if code)
    reasons = ("is still going on", "has just finished the run", "has no unfinished run")
    assert any(reason in message for reason in reasons)
    assert "Traceback" not in message
    assert path.exists()


def test_a_run_that_failed_can_be_resumed_though_its_process_lives_on(finished_copy):
    fail_late(finished_copy)
    assert not finished_copy.record()["finished"]
    process, message = hold(finished_copy.records[-1].parent, finished_copy.record()["version"])
    process.kill()
    process.wait()
    assert message == "held"


def test_one_wrong_record_stops_no_run(finished_copy, caplog):
    wrong = finished_copy.records[-1].with_name("2018-06-18T00.00.00.000Z.json")
    wrong.write_text('{"version": "2018-')
    finished_copy.run(node_names=["segmentation.score"])
    assert f"The run record {wrong} is left out" in caplog.text


def test_an_unfinished_run_from_the_future_comes_last(unfinished_copy):
    path = unfinished_copy.records[-1]
    later = json.loads(path.read_text()) | {"version": "2999-01-01T00.00.00.000Z", "code": "other"}
    path.with_name("2999-01-01T00.00.00.000Z.json").write_text(json.dumps(later))
    fail_late(unfinished_copy, parameters={"resume": True})


@pytest.mark.parametrize("runner", [ThreadRunner, ParallelRunner])
def test_other_runners_are_refused(finished_copy, runner):
    with pytest.raises(UserError, match=rf"--runner=.*{runner.__name__}.* is not supported"):
        finished_copy.run("export", runner=runner())
    assert len(finished_copy.records) == 1


def test_asynchronous_loading_is_refused(finished_copy, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    with pytest.raises(SystemExit) as exit_:
        main(*finished_copy.options("--async", "--pipeline", "export"))
    message = "".join(capsys.readouterr())
    assert exit_.value.code == 1
    assert "--async is not supported" in message
    assert "Traceback" not in message
    assert len(finished_copy.records) == 1


def test_another_pipeline_is_another_run(unfinished_copy):
    with pytest.raises(
        UserError, match=r"affinity_labels has no unfinished run .*\n.*\n.*revision"
    ):
        unfinished_copy.run(
            "affinity_labels", parameters={"resume": True, "revision.confidence": 0.9}
        )


def test_other_nodes_of_the_same_pipeline_are_another_run(unfinished_copy):
    with pytest.raises(
        UserError, match=r"in only one of them: revision\.choose, revision\.choose_crf, revision\."
    ):
        unfinished_copy.run(
            "revision",
            parameters={"resume": True, "revision.confidence": 0.9},
            from_nodes=["revision.refine"],
        )


def test_a_newer_unfinished_run_of_another_pipeline_is_not_in_the_way(unfinished_copy, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (20, 20)).save(photos / "sound.png")
    (photos / "broken.png").write_text("no photo")
    folders = {"images": str(photos), "output": str(tmp_path / "masks")}
    with pytest.raises(UserError, match=r"broken\.png: no image that Pillow can read"):
        unfinished_copy.run("inference", parameters=folders)
    fail_late(unfinished_copy, parameters={"resume": True})


def test_changed_code_is_another_run(unfinished_copy, monkeypatch):
    monkeypatch.setattr("affinitynet.runs.hooks.code_fingerprint", lambda: "changed")
    with pytest.raises(UserError, match="\n  code: was "):
        unfinished_copy.run("revision", parameters={"resume": True, "revision.confidence": 0.9})


def test_an_unfinished_version_is_never_read(unfinished_copy):
    version = unfinished_copy.records[0].stem
    assert not unfinished_copy.record()["finished"]
    catalog = unfinished_copy.catalog()
    assert catalog.get("revision.labels").resolve_load_version() == version
    unfinished_copy.run("revision", node_names=["revision.score"])
    assert unfinished_copy.record()["inputs"]["revision.labels"] == version


def test_nothing_to_resume_is_reported(finished_copy):
    with pytest.raises(UserError, match="has no unfinished run in environment 'test'"):
        finished_copy.run(parameters={"resume": True})


def test_unfinished_runs_of_other_environments_are_named(unfinished_copy):
    version = unfinished_copy.record()["version"]
    with pytest.raises(
        UserError, match=rf"Unfinished are:\n  {version}: revision in environment 'test'"
    ):
        unfinished_copy.run(env="voc_cpu", parameters={"resume": True})


def test_the_default_environment_is_resumed_too(finished_copy):
    small = finished_copy.record()["parameters"]
    small = {name: value for name, value in small.items() if name.startswith(("revision", "cam"))}
    for folder in finished_copy.data.glob("*/test"):
        folder.rename(folder.with_name("scenes"))
    fail_late(finished_copy, env=None, parameters=small | {"revision.confidence": 0.9})
    fail_late(
        finished_copy, env=None, parameters=small | {"revision.confidence": 0.9, "resume": True}
    )


def test_inputs_that_were_never_made_name_their_command(project):
    with pytest.raises(UserError) as error:
        project.run("revision")
    for name in ("cam.maps", "affinity_training.model"):
        stage = name.split(".")[0]
        line = rf"{name}: no complete version in "
        assert line in str(error.value)
        assert f"make it with: kedro run --env test --pipeline {stage}" in str(error.value)
    assert not project.data.exists()
    assert not project.query("select * from runs")


@pytest.mark.parametrize(
    ("options", "parameters", "line"),
    [
        (
            {"pipelines": ["cam"]},
            {},
            "photos: nothing in {root}/JPEGImages; give --params voc_root=",
        ),
        (
            {"tags": ["scoring"]},
            {},
            "masks: nothing in {root}/SegmentationClassAug; give --params "
            "voc_root=<path>,mask_folder=<name>",
        ),
        (
            {"pipelines": ["segmentation_from_masks"]},
            {"data_set.strict": False},
            "masks: nothing in {root}/SegmentationClassAug",
        ),
    ],
)
def test_a_separate_stage_reports_that_its_data_set_is_not_there(
    finished_copy, options, parameters, line
):
    for folder in finished_copy.data.glob("*/test"):
        folder.rename(folder.with_name("voc_cpu"))
    root = finished_copy.folder / "nowhere"
    given = {"voc_root": str(root)} | parameters
    names = options.get("pipelines", [])
    with pytest.raises(UserError, match="missing or empty") as error:
        finished_copy.run(*names, env="voc_cpu", parameters=given, tags=options.get("tags"))
    assert line.format(root=root) in str(error.value)
    assert len(finished_copy.records) == 1


def test_scores_need_no_masks_where_none_are_asked_for(finished_copy):
    for folder in finished_copy.data.glob("*/test"):
        folder.rename(folder.with_name("tagged"))
    finished_copy.run(env="tagged", tags=["scoring"])
    assert not finished_copy.catalog(env="tagged").load("segmentation.metrics")


def test_a_run_that_made_nothing_is_forgotten(project, tmp_path):
    photos, tags = tmp_path / "photos", tmp_path / "tags.csv"
    photos.mkdir()
    tags.write_text("")
    with pytest.raises(UserError, match=r"tags\.csv"):
        project.run(env="tagged", parameters={"images": str(photos), "tags": str(tags)})
    assert not project.records


def test_a_run_among_the_photos_is_refused(project):
    photos = project.folder
    with pytest.raises(UserError, match=r"data=.*/data: lies among the photos"):
        project.run(env="tagged", parameters={"images": str(photos)})
    assert not project.data.exists()
