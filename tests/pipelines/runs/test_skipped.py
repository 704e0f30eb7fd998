"""An image that kills every process that works on it is left out, here and in later stages."""

import json
import os
import signal

from affinitynet.datasets.folder import source
from affinitynet.datasets.partitions import MARKER_SUFFIX
from affinitynet.pipelines import per_image

CRASHING, WITHOUT_CAM = "scene_00002", "scene_00005"
read_and_do = per_image._read_and_do


def die_over_one(stage, read, read_maps):
    if CRASHING in source(read):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_and_do(stage, read, read_maps)


def test_the_run_goes_on_without_a_deadly_image_and_a_resumed_one_tries_it_again(
    finished_copy, monkeypatch
):
    (maps,) = finished_copy.data.glob("04_feature/test/cam/maps/*/maps")
    (maps / f"{WITHOUT_CAM}.safetensors").unlink()
    marker = maps.with_name(maps.name + MARKER_SUFFIX)
    everything = json.loads(marker.read_text())["items"]
    marker.write_text(json.dumps({"items": everything - 1}))

    with monkeypatch.context() as patch:
        patch.setattr(per_image, "_read_and_do", die_over_one)
        finished_copy.run("affinity_labels", parameters={"execution.workers": 2})
    record, path = finished_copy.record(), finished_copy.records[-1]
    assert record["finished"]
    assert record["skipped"] == {"affinity_labels.label": [CRASHING]}
    counted = "select value from metrics where key = 'affinity_labels.skipped'"
    assert finished_copy.query(counted) == [(1.0,)]

    finished_copy.run("affinity_training", "revision", "segmentation", "reporting")
    assert finished_copy.record()["finished"]
    assert not finished_copy.record()["skipped"]
    catalog = finished_copy.catalog()
    labels, pseudo = catalog.load("affinity_labels.labels"), catalog.load("revision.labels")
    assert len(labels) == everything - 2
    assert pseudo.keys() - labels.keys() == {CRASHING}  # its CAM was there
    assert WITHOUT_CAM not in pseudo

    path.write_text(json.dumps(record | {"finished": None}))
    finished_copy.run("affinity_labels", parameters={"resume": True})
    assert json.loads(path.read_text())["skipped"] == record["skipped"]  # the node was finished

    path.write_text(json.dumps(record | {"finished": None}))
    version = f"05_model_input/test/affinity_labels/labels/{record['version']}"
    (finished_copy.data / version / f"labels{MARKER_SUFFIX}").unlink()
    finished_copy.run("affinity_labels", parameters={"resume": True})
    assert not json.loads(path.read_text())["skipped"]
    assert CRASHING in finished_copy.catalog().load("affinity_labels.labels")
