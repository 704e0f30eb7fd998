"""What a run has made is what it reads; what it reads of others is chosen once, at its start."""

import json
import shutil
import warnings
from functools import partial

import pytest
from kedro.io import Version
from kedro_datasets.json import JSONDataset

import affinitynet.settings  # noqa: F401  (makes Kedro's warning an error)
from affinitynet.datasets.partitions import MARKER_SUFFIX
from affinitynet.errors import UserError
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.cam import nodes as cam
from affinitynet.runs.versions import list_mixed_inputs, newest

OLD, NEW, LATER = (f"{year}-06-18T00.00.00.000Z" for year in (2018, 2019, 2999))


def maps(project, version):
    """The CAMs of a run, by image."""
    folder = project.data / f"04_feature/test/cam/maps/{version}/maps"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_reads_its_own_outputs_while_another_one_makes_newer_ones(
    finished_copy, monkeypatch, tmp_path
):
    """The other one runs to its end between this one's training and its CAMs."""
    others = []

    def run_another_first(work, *arguments, **options):
        if not others:
            other = finished_copy.start("--pipeline", "cam", parameters={"seed": 1})
            output, _ = other.communicate(timeout=600)
            assert other.returncode == 0, output
            others.append(finished_copy.record()["version"])
        return work(*arguments, **options)

    alone = finished_copy.record()["version"]
    monkeypatch.setattr(cam, "per_batch", partial(run_another_first, cam.per_batch))
    finished_copy.run("cam", "affinity_labels")
    (other,) = others
    (version,) = {path.stem for path in finished_copy.records} - {alone, other}
    assert version < other
    assert maps(finished_copy, version) == maps(finished_copy, alone)
    assert maps(finished_copy, other) != maps(finished_copy, alone)
    for name in ("cam/metrics.json", "cam/tag_metrics.json", "affinity_labels/metrics.json"):
        stage, file = name.split("/")
        made = finished_copy.data / f"08_reporting/test/{name}"
        assert (made / version / file).read_text() == (made / alone / file).read_text()
        if stage == "cam":
            assert (made / other / file).read_text() != (made / alone / file).read_text()


def test_a_version_from_the_future_is_named_and_not_taken(finished_copy, caplog):
    version = finished_copy.record()["version"]
    models = finished_copy.data / "06_models/segmentation/model.pt"
    features = finished_copy.data / "04_feature/test/cam/maps"
    for folder in (models, features):
        shutil.copytree(folder / version, folder / LATER)
    (features / LATER / "maps" / "scene_00000.safetensors").write_bytes(b"another run's")
    finished_copy.run(node_names=["affinity_labels.label", "export.pack"])
    assert finished_copy.record()["inputs"]["cam.maps"] == version
    assert finished_copy.record()["inputs"]["segmentation.model"] == version
    for name in ("cam.maps", "segmentation.model"):
        assert f"{name}: the version {LATER} is later than now" in caplog.text
        assert f"--load-versions {name}:{LATER}" in caplog.text
    finished_copy.run(node_names=["export.pack"], load_versions={"segmentation.model": LATER})
    assert finished_copy.record()["inputs"]["segmentation.model"] == LATER
    shutil.rmtree(models / version)
    with pytest.raises(UserError, match=r"segmentation\.model: no complete version in"):
        finished_copy.run(node_names=["export.pack"])


def test_what_a_run_makes_cannot_be_loaded_from_another(finished_copy):
    former = finished_copy.record()["version"]
    with pytest.raises(UserError, match=rf"this run makes itself:\n  cam\.model:{former}"):
        finished_copy.run("cam", load_versions={"cam.model": former})
    assert len(finished_copy.records) == 1


def test_an_input_that_was_asked_for_must_be_complete(finished_copy):
    version = finished_copy.record()["version"]
    marker = f"04_feature/test/cam/maps/{version}/maps{MARKER_SUFFIX}"
    (finished_copy.data / marker).unlink()
    with pytest.raises(UserError, match=rf"cam\.maps: no complete version {version} in"):
        finished_copy.run("affinity_labels", load_versions={"cam.maps": version})


def test_only_missing_outputs_are_made_from_those_that_are_there(finished_copy):
    version = finished_copy.record()["version"]
    (path,) = finished_copy.data.glob("08_reporting/test/revision/metrics.json/*/*")
    path.unlink()
    finished_copy.run("revision", only_missing_outputs=True)
    record = finished_copy.record()
    assert record["nodes"] == ["revision.score"]
    assert record["inputs"]["revision.labels"] == version


def test_to_save_one_version_and_load_another_is_an_error(tmp_path):
    dataset = JSONDataset(filepath=str(tmp_path / "a.json"), version=Version(None, NEW))
    dataset.save({})
    older = JSONDataset(filepath=str(tmp_path / "a.json"), version=Version(None, OLD))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Save version '.*' did not match load version")
        assert any("did not match" in str(each[1]) for each in warnings.filters)
        with pytest.raises(UserWarning, match="did not match load version"):
            older.save({})


def test_the_newest_version_is_a_complete_one_of_the_past(tmp_path, caplog):
    dataset = JSONDataset(filepath=str(tmp_path / "[1]/a.json"), version=Version(None, None))
    assert newest("a", dataset) is None
    for version in (OLD, NEW, LATER, "backup"):
        file = tmp_path / "[1]/a.json" / version / "a.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(version))
    assert newest("a", dataset) == NEW
    assert caplog.text.count("is later than now") == 2
    (tmp_path / "[1]/a.json" / NEW / "a.json").unlink()
    assert newest("a", dataset) == OLD


def test_inputs_of_runs_that_do_not_belong_together_are_named():
    whole = register_pipelines()["__default__"]
    made = {
        OLD: {"index": OLD, "cam.model": OLD, "cam.maps": OLD},
        NEW: {"index": NEW},
        LATER: {"index": NEW, "cam.model": LATER, "cam.maps": LATER},
    }
    inputs = {"index": NEW, "cam.model": OLD, "photos": "3 files, 11"}
    (line,) = list_mixed_inputs(inputs, made, whole)
    assert line == f"cam.model {OLD} was made with index {OLD}, but this run reads index {NEW}"
    assert not [*list_mixed_inputs(inputs | {"index": OLD}, made, whole)]
    later_maps = {"index": OLD, "cam.model": OLD, "cam.maps": LATER}
    lines = [line.partition(", but")[0] for line in list_mixed_inputs(later_maps, made, whole)]
    assert lines == [
        f"cam.maps {LATER} was made with cam.model {LATER}",
        f"cam.maps {LATER} was made with index {NEW}",
    ]
