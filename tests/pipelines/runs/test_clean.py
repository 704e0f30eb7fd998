"""What old runs have made: which versions are listed and removed."""

import json
from dataclasses import asdict

import pytest
from click.testing import CliRunner

from affinitynet.runs.clean import clean_runs, list_kept
from affinitynet.runs.newest import env_option, model_uri
from affinitynet.runs.record import RunRecord


def version(day):
    return f"2026-01-{day:02}T10.00.00.000Z"


def record(day, *, env="base", pipelines=("__default__",), reads=None, finished=True):
    return RunRecord(
        version=version(day),
        env=env,
        pipelines=[*pipelines],
        nodes=[],
        parameters={},
        code="",
        git="",
        inputs={"cam.maps": version(reads)} if reads else {},
        outputs=["index", "cam.maps", "export.model"],
        mlflow_run=f"run{day}",
        finished="2026-01-31T10:00:00+00:00" if finished else None,
    )


@pytest.fixture
def data(tmp_path):
    """Seven runs: what each has made is a model, a folder of maps and an unfinished one."""
    runs = [
        record(1),
        record(2),
        record(3, env="tagged"),
        record(4),
        record(5, pipelines=["cam"], finished=False),
        record(6),
        record(7, pipelines=["revision"], reads=2),
    ]
    folder = tmp_path / "08_reporting/runs"
    folder.mkdir(parents=True)
    for run in runs:
        (folder / f"{run.version}.json").write_text(json.dumps(asdict(run)))
        work = tmp_path / "06_models" / run.env
        model = work / "cam/model.pt" / run.version / "model.pt"
        maps = work / "cam/maps" / run.version / "maps"
        for path in (model, maps / "a.safetensors", maps / "b.safetensors"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"0" * 1000)
        if run.finished:
            (maps.parent / "maps.complete.json").write_text('{"items": 2}')
    (tmp_path / "01_raw/photos").mkdir(parents=True)
    (tmp_path / "01_raw/photos/mine.jpg").write_bytes(b"photo")
    return tmp_path


def versions(data):
    return {path.name for path in data.glob("06_models/*/cam/*/*")}


def clean(data, *options, answer=""):
    return CliRunner().invoke(clean_runs, ["--data", str(data), *options], input=answer)


def test_what_kept_runs_have_made_or_read_stays(data):
    done = clean(data, "--keep", "2", "--yes")
    assert done.exit_code == 0, done.output
    # 7 and 6 are the newest, 2 was read by 7, 3 is another environment's, 5 can be resumed
    assert versions(data) == {version(day) for day in (2, 3, 5, 6, 7)}
    assert (data / "01_raw/photos/mine.jpg").exists()


def test_nothing_is_removed_without_a_yes(data):
    before = versions(data)
    listed = clean(data, "--keep", "1")
    assert version(1) in listed.output
    assert "kB" in listed.output
    assert versions(data) == before
    clean(data, "--keep", "1", answer="n\n")
    assert versions(data) == before
    clean(data, "--keep", "1", answer="y\n")
    assert version(1) not in versions(data)


def test_the_newest_complete_version_stays_without_any_record(data):
    for path in data.glob("08_reporting/runs/*.json"):
        path.unlink()
    (data / "06_models/base/cam/maps" / version(7) / "maps.complete.json").unlink()
    clean(data, "--yes")
    maps = {path.name for path in data.glob("06_models/base/cam/maps/*")}
    assert maps == {version(6), version(7)}  # the newest complete one, and the newest one
    assert {path.name for path in data.glob("06_models/base/cam/model.pt/*")} == {version(7)}


def test_the_newest_run_of_each_pipeline_is_kept():
    runs = [
        record(day, pipelines=[name]) for day, name in ((9, "cam"), (8, "cam"), (7, "revision"))
    ]
    assert list_kept(runs, keep=1) == {version(9), version(7)}


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--keep", "0"), "keep at least 1 run"), (("--data", "s3://bucket/data"), "no folder")],
)
def test_wrong_options_are_refused(data, options, message):
    done = clean(data, *options)
    assert done.exit_code == 2
    assert message in done.output


def test_a_link_to_a_version_is_left_alone(data, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine").write_text("kept")
    (data / "06_models/base/cam/maps" / version(0 + 1)).rename(elsewhere / "moved")
    (data / "06_models/base/cam/maps" / version(1)).symlink_to(elsewhere)
    clean(data, "--keep", "1", "--yes")
    assert (elsewhere / "mine").exists()


def test_the_newest_run_names_environment_and_model(data):
    folder = data / "08_reporting/runs"
    assert env_option(folder, None) == ""
    assert env_option(folder, "voc_cpu") == "--env=voc_cpu"
    assert model_uri(folder, None) == "runs:/run7/export_model"
    assert model_uri(folder, "tagged") == "runs:/run3/export_model"
    with pytest.raises(SystemExit, match="kedro run --env voc"):
        model_uri(folder, "voc")
    for day in (4, 6, 7):
        (folder / f"{version(day)}.json").unlink()
    assert env_option(folder, None) == "--env=tagged"
