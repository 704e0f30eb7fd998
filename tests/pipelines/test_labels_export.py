"""labels_export: what pycocotools, torchvision and our own ingestion find in the data set."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection, VOCSegmentation

import affinitynet
from affinitynet.__main__ import main
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import voc_palette
from affinitynet.data.annotation_tools import decode_brush
from affinitynet.data.corrections import Corrected
from affinitynet.data.voc import parse_annotation
from affinitynet.datasets.folder import source
from affinitynet.datasets.stored_file import LocalFile
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.labels_export.nodes import (
    describe_coco,
    describe_label_studio,
    describe_voc,
    select_images,
    take_labels,
    take_photos,
)
from affinitynet.pipelines.parameters import LabelsExport, Polygons
from tests.conftest import PROJECT


def export(project, folder, **options):
    """Export, and return the folder of the new version and the labels that it must hold."""
    before = {*folder.iterdir()} if folder.exists() else set()
    given = {f"labels_export.{name}": value for name, value in options.items()}
    project.run("labels_export", parameters={"exported": str(folder), **given})
    (version,) = {*folder.iterdir()} - before
    catalog = project.catalog()
    index = catalog.load("index")
    readers = catalog.load("segmentation.predictions") | catalog.load("revision.labels")
    labels = {
        image_id: resize_labels(readers[image_id](), (row["height"], row["width"]))
        for image_id, row in index.iterrows()
    }
    return version, index, labels


@pytest.fixture(scope="module")
def voc(finished_run, tmp_path_factory):
    project = finished_run.copy(tmp_path_factory.mktemp("voc"))
    return project, *export(project, project.folder / "exported")


@pytest.mark.parametrize("image_set", ["train", "val", "trainval"])
def test_torchvision_opens_the_voc_form(voc, image_set):
    _, version, index, labels = voc
    pairs = VOCSegmentation(version, year="2012", image_set=image_set)
    ids = [i for i in index.index if image_set == "trainval" or index.loc[i, "split"] == image_set]
    assert len(pairs) == len(ids) > 0
    for (photo, mask), image_id in zip(pairs, ids, strict=True):
        assert photo.size == mask.size
        assert mask.mode == "P"
        assert mask.getpalette()[: 5 * 3] == voc_palette()[:5].ravel().tolist()
        np.testing.assert_array_equal(mask, labels[image_id])


def test_tags_and_names_come_with_the_labels(voc):
    project, version, index, _ = voc
    root = version / "VOCdevkit/VOC2012"
    for image_id, row in index.iterrows():
        annotation = parse_annotation((root / f"Annotations/{image_id}.xml").read_bytes())
        assert "|".join(annotation.tags) == row["tags"]
        assert (annotation.width, annotation.height) == (row["width"], row["height"])
        source = {"train": "pseudo label", "val": "prediction"}[row["split"]]
        text = (root / f"Annotations/{image_id}.xml").read_text()
        assert f"<annotation>{source} by affinitynet</annotation>" in text
    names = [line.split(":")[0] for line in (root / "labelmap.txt").read_text().splitlines()[1:]]
    assert names == ["background", *project.catalog().load("classes")]


def test_an_exported_photo_edited_in_place_leaves_the_original_as_it_is(voc):
    project, version, _, _ = voc
    image_id, read = next(iter(project.catalog().load("photos").items()))
    original = Path(source(read))
    exported = version / f"VOCdevkit/VOC2012/JPEGImages/{image_id}.jpg"
    content = original.read_bytes()
    assert exported.read_bytes() == content
    with exported.open("r+b") as file:
        file.write(b"edited")
    assert original.read_bytes() == content
    exported.write_bytes(content)


def test_photos_are_linked_where_that_is_asked_for(finished_copy, tmp_path):
    version, *_ = export(finished_copy, tmp_path / "exported", photos="link")
    for image_id, read in finished_copy.catalog().load("photos").items():
        linked = version / f"VOCdevkit/VOC2012/JPEGImages/{image_id}.jpg"
        assert linked.samefile(source(read))


def test_the_project_itself_can_learn_from_the_export(voc):
    project, version, _, _ = voc
    root = version / "VOCdevkit/VOC2012"
    given = {
        "voc_root": str(root),
        "mask_folder": "SegmentationClass",
        "data_set.classes": ["car", "fish", "house", "owl"],
        "data_set.mask_classes": ["car", "fish", "house", "owl"],
        "data_set.splits": {"train": "train", "val": "val"},
        "cam.training.batch_size": 4,
        "segmentation.training.batch_size": 4,
    }
    project.run("ingestion", env="voc_cpu", parameters=given)


@pytest.mark.parametrize("segments", ["rle", "polygons"])
def test_pycocotools_and_torchvision_open_the_coco_form(finished_copy, tmp_path, segments):
    version, index, labels = export(
        finished_copy,
        tmp_path / "exported",
        layout="coco",
        segments=segments,
        **{"polygons.min_share": 0, "polygons.tolerance": 0},
    )
    classes = finished_copy.catalog().load("classes")
    for split, kind in (("train", "pseudo label"), ("val", "prediction")):
        file = version / f"annotations/instances_{split}.json"
        data = COCO(file)
        assert {image["source"] for image in data.dataset["images"]} == {kind}
        assert {c["name"]: c["id"] for c in data.dataset["categories"]} == classes
        ids = [image["file_name"].removesuffix(".jpg") for image in data.dataset["images"]]
        assert ids == [*index.index[index["split"] == split]]
        for number, image_id in enumerate(ids, start=1):
            union = np.zeros_like(labels[image_id])
            for annotation in data.imgToAnns[number]:
                drawn = data.annToMask(annotation)
                assert annotation["area"] == drawn.sum()
                union[drawn > 0] = annotation["category_id"]
            np.testing.assert_array_equal(union, labels[image_id])
        pairs = CocoDetection(version / "images", file)
        assert len(pairs) == len(ids)
        assert pairs[0][0].size == labels[ids[0]].shape[::-1]
    photos = finished_copy.catalog().load("photos")
    copied = version / "images" / f"{ids[0]}.jpg"
    assert copied.read_bytes() == Path(source(photos[ids[0]])).read_bytes()
    assert not copied.samefile(source(photos[ids[0]]))


def test_a_data_sets_own_masks_are_never_exported(finished_run):
    pipeline = register_pipelines()["labels_export"]
    assert "masks" not in pipeline.inputs()
    index, labels = finished_run.catalog().load("index"), {"a": None, "b": None}
    index = index.iloc[:3].set_axis(["a", "b", "c"]).assign(split=["train", "val", "val"])
    images = select_images(index, labels, {"c": None}, Corrected())
    assert images["source"].to_dict() == {"a": "pseudo label", "c": "prediction"}


def test_corrected_masks_are_carried_and_never_called_pseudo_labels(finished_run):
    catalog = finished_run.catalog()
    index, classes = catalog.load("index").iloc[:2], catalog.load("classes")
    index = index.assign(split="train", width=4, height=4)
    true, value = index.index[0], classes["fish"]
    drawn = np.full((4, 4), value, np.uint8)
    labels = dict.fromkeys(index.index, lambda: np.zeros((2, 2), np.uint8))
    corrected, one = Corrected({true: lambda: drawn}), Execution(workers=1)
    images = select_images(index, labels, {}, corrected)
    assert images["source"].tolist() == ["corrected", "pseudo label"]

    (taken,) = take_labels(images, labels, {}, corrected, classes, one)
    np.testing.assert_array_equal(taken[true], drawn)
    annotation = describe_voc(images, classes)[0][true]
    assert "<annotation>corrected</annotation>" in annotation

    options = LabelsExport("coco", "copy", 95, "rle", Polygons(0, 0))
    coco = describe_coco(images, labels, {}, corrected, classes, options, one)["instances_train"]
    assert [image["source"] for image in coco["images"]] == ["corrected", "pseudo label"]
    assert [each["area"] for each in coco["annotations"]] == [16]

    tasks, _ = describe_label_studio(images, labels, {}, corrected, {}, classes, one)
    first, second = tasks["tasks"]
    assert "predictions" not in first
    assert "annotations" not in second
    (region,) = first["annotations"][0]["result"]
    assert region["value"]["brushlabels"] == ["fish"]


def test_label_studio_gets_predictions_with_scores(finished_copy, tmp_path):
    version, index, labels = export(finished_copy, tmp_path / "exported", layout="label_studio")
    classes = finished_copy.catalog().load("classes")
    tasks = json.loads((version / "tasks/tasks.json").read_text())
    assert len(tasks) == len(index)
    for task, (image_id, row) in zip(tasks, index.iterrows(), strict=True):
        file = task["data"]["image"].partition("?d=")[2]
        assert (version / file).is_file()
        assert file == f"images/{image_id}.jpg"
        (prediction,) = task["predictions"]
        assert ("score" in prediction) == (row["split"] == "train")
        assert 0 < prediction.get("score", 0.5) <= 1
        drawn = np.zeros_like(labels[image_id])
        for result in prediction["result"]:
            alpha = decode_brush(result["value"]["rle"])[3::4].reshape(drawn.shape)
            drawn[alpha > 0] = classes[result["value"]["brushlabels"][0]]
        np.testing.assert_array_equal(drawn, np.where(labels[image_id] == 255, 0, labels[image_id]))
    assert all(f'"{name}"' in (version / "config/config.xml").read_text() for name in classes)


def test_a_second_export_leaves_the_first_one_alone(finished_copy, tmp_path):
    first, *_ = export(finished_copy, tmp_path / "exported")
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    second, *_ = export(finished_copy, tmp_path / "exported")
    assert first != second
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_photos_of_all_sorts_become_upright_jpegs(tmp_path, finished_run):
    from affinitynet.datasets import FolderDataset

    photo = Image.effect_noise((40, 30), 50).convert("RGB")
    photo.save(tmp_path / "png.png")
    photo.save(tmp_path / "plain.jpg")
    photo.convert("RGBA").save(tmp_path / "alpha.png")
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    photo.save(tmp_path / "broken.jpg", exif=b"Exif\0\0broken")
    readers = FolderDataset(path=str(tmp_path), dataset="pillow.ImageDataset").load()
    images = finished_run.catalog().load("index").iloc[: len(readers)]
    images = images.set_axis(list(readers), axis=0)
    options = LabelsExport("voc", "link", 90, "rle", Polygons(0, 0))
    (taken,) = take_photos(images, readers, options, Execution(workers=1))
    for name in ("plain.jpg", "broken.jpg"):
        assert taken.pop(name) == LocalFile(tmp_path / name, link=True)
    sizes = {"png.png": (40, 30), "alpha.png": (40, 30), "turned.jpg": (30, 40)}
    assert taken.keys() == sizes.keys()
    for name, data in taken.items():
        (tmp_path / "new.jpg").write_bytes(data)
        with Image.open(tmp_path / "new.jpg") as made:
            assert (made.format, made.mode, made.size) == ("JPEG", "RGB", sizes[name])


def test_neutral_pixels_and_other_classes_stay_neutral(finished_run):
    mask = np.array([[0, 8], [5, 255]], np.uint8)
    images = finished_run.catalog().load("index").iloc[:1].assign(width=4, height=4)
    labels = {images.index[0]: lambda: mask}
    (taken,) = take_labels(images, labels, {}, Corrected(), {"cat": 8}, Execution(workers=1))
    expected = np.array([[0, 8], [255, 255]]).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(taken[images.index[0]], expected)


@pytest.mark.parametrize(
    ("option", "value"), [("layout", "yolo"), ("photos", "move"), ("segments", "boxes")]
)
def test_an_unknown_option_is_named(finished_copy, tmp_path, option, value):
    with pytest.raises(UserError, match=rf"labels_export\.{option} is '{value}'; it must be '"):
        export(finished_copy, tmp_path / "exported", **{option: value})
    assert not (tmp_path / "exported").exists()


def test_a_killed_export_is_continued(finished_copy, tmp_path):
    version, *_ = export(finished_copy, tmp_path / "exported")
    record = finished_copy.record()
    finished_copy.records[-1].write_text(json.dumps(record | {"finished": None}))
    root = version / "VOCdevkit/VOC2012"
    (root / "SegmentationClass.complete.json").unlink()
    missing = sorted((root / "SegmentationClass").iterdir())[3:]
    kept = sorted((root / "SegmentationClass").iterdir())[0].stat().st_mtime_ns
    for path in missing:
        path.unlink()
    finished_copy.run(
        "labels_export", parameters={"exported": str(tmp_path / "exported"), "resume": True}
    )
    assert all(path.exists() for path in missing)
    assert sorted((root / "SegmentationClass").iterdir())[0].stat().st_mtime_ns == kept
    assert [*(tmp_path / "exported").iterdir()] == [version]


def test_without_pseudo_labels_the_command_that_makes_them_is_named(project, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    with pytest.raises(SystemExit) as exit_:
        main(*project.options("--pipeline", "labels_export"))
    assert exit_.value.code == 1
    assert "--pipeline revision" in "".join("".join(capsys.readouterr()).split("\n"))


def test_the_documentation_s_backend_proposes_masks_to_label_studio(
    finished_run, tmp_path, monkeypatch
):
    text = (PROJECT / "docs/exports.md").read_text()
    (code,) = re.findall(r'```python title="label_studio_backend.py"\n(.*?)```', text, re.DOTALL)
    monkeypatch.setattr(sys, "argv", ["", str(finished_run.data), str(tmp_path)])
    backend = {"__name__": "backend"}
    exec(code, backend)
    photo = next(iter(finished_run.catalog().load("photos").values()))()
    photo.save(tmp_path / "a.png")
    client = backend["app"].test_client()

    def ask(file):
        task = {"data": {"image": f"/data/local-files/?d={file}"}}
        return client.post("/predict", json={"tasks": [task]})

    (found,) = ask("a.png").json["results"]
    prediction = affinitynet.load(finished_run.data).predict(photo)
    assert found["score"] == pytest.approx(prediction.mean_confidence, abs=1e-4)
    drawn = np.zeros_like(prediction.mask)
    for region in found["result"]:
        value = region["value"]
        alpha = decode_brush(value["rle"])[3::4].reshape(drawn.shape)
        drawn[alpha > 0] = prediction.classes[value["brushlabels"][0]]
    np.testing.assert_array_equal(drawn, prediction.mask)
    assert ask("../a.png").status_code == 403
    assert client.get("/health").json == {"status": "UP"}
