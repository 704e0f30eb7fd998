"""Masks that were corrected by hand: they are trained on, and then score nothing."""

import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from affinitynet.data.corrections import Corrected, corrected_labels, without_corrected
from affinitynet.datasets import CorrectedDataset
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.ingestion.nodes import check_corrections
from affinitynet.pipelines.training import _labelled_photos
from affinitynet.training.parameters import Augmentation, TrainingParameters
from tests.pipelines.test_default_pipeline import ancestors, training_nodes

CLASSES = {"cat": 8, "dog": 12}
SIZE = (32, 48)


@pytest.fixture
def index():
    rows = [("train", 48, 32, "cat"), ("train", 48, 32, "dog"), ("val", 48, 32, "dog")]
    columns = ["split", "width", "height", "tags"]
    return pd.DataFrame(rows, ["a/rex", "tom", "seen"], columns).rename_axis("id")


def mask(value):
    values = np.zeros(SIZE, np.uint8)
    values[8:16] = value
    return values


def write_png(folder, name, value, size=SIZE):
    folder.mkdir(exist_ok=True)
    image = Image.fromarray(mask(value))
    image.resize((size[1], size[0]), Image.Resampling.NEAREST).save(folder / f"{name}.png")
    return str(folder)


def write_coco(path, files, categories):
    """Boxes drawn as polygons: category 1 covers the rows 8 to 16."""
    box = [0, 8, 48, 8, 48, 16, 0, 16]
    content = {
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, start=1)],
        "images": [
            {"id": i, "file_name": file, "width": 48, "height": 32} for i, file in enumerate(files)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": [box], "iscrowd": 0}
            for i, _ in enumerate(files)
        ],
    }
    path.write_text(json.dumps(content))
    return str(path)


def load(path):
    return CorrectedDataset(path=path).load()


def check(path, index, classes=CLASSES):
    return check_corrections(index, classes, load(path), Execution(workers=1))


def test_nothing_is_given_by_default(index):
    none = CorrectedDataset(path=None)
    assert none.fingerprint() == "none"
    assert corrected_labels(none.load(), index, CLASSES) == {}


def test_images_have_the_data_set_s_own_values(tmp_path, index):
    write_png(tmp_path / "png", "tom", 12)
    path = write_png(tmp_path / "png", "rex", 8)
    labels = corrected_labels(load(path), index, CLASSES)
    assert {photo: np.unique(read()).tolist() for photo, read in labels.items()} == {
        "a/rex": [0, 8],
        "tom": [0, 12],
    }


def test_outlines_are_translated_by_the_classes_names(tmp_path, index):
    path = write_coco(tmp_path / "c.json", ["rex.jpg", "tom.jpg"], ["dog", "bird"])
    labels = corrected_labels(load(path), index, CLASSES)
    assert np.array_equal(labels["tom"](), mask(12))


def test_pixels_of_classes_that_are_not_learned_are_void(tmp_path, index):
    path = write_coco(tmp_path / "c.json", ["tom.jpg"], ["bird", "dog"])
    assert np.array_equal(corrected_labels(load(path), index, CLASSES)["tom"](), mask(255))


def test_corrected_photos_of_val_are_not_trained_on(tmp_path, index, caplog):
    path = write_coco(tmp_path / "c.json", ["rex.jpg", "seen.jpg"], ["dog"])
    assert check(path, index) == {"photos": 1, "val": ["seen"]}
    assert "1 photos are of val, such as seen. They are not trained on" in caplog.text
    corrected = load(path)
    assert corrected_labels(corrected, index, CLASSES).keys() == {"a/rex"}
    masks = dict.fromkeys(index.index, lambda: mask(8))
    assert without_corrected(masks, corrected, index).keys() == {"tom", "seen"}


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: str(folder / "none"), "there is no such file or folder"),
        (lambda folder: write_png(folder / "p", "nobody", 8), "have the name of a photo|none of"),
        (lambda folder: write_png(folder / "p", "seen", 8), "none of the 1 masks is of a training"),
        (lambda folder: write_png(folder / "p", "tom", 8, (16, 24)), "tom: the mask is 24 x 16"),
        (
            lambda folder: write_png(folder / "p", "tom", 3),
            r"tom: .* no value of a class, but \[3\]",
        ),
        (lambda folder: write_coco(folder / "c", ["tom.jpg"], ["bird"]), "masks are of bird, the"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, index, make, line):
    with pytest.raises(UserError, match=f"(?s)corrected=.*({line})"):
        check(make(tmp_path), index)


def of_many(count):
    rows = [("train", 48, 32, ("cat", "dog")[i % 2]) for i in range(count)]
    ids = [f"p{i}" for i in range(count)]
    return pd.DataFrame(rows, ids, ["split", "width", "height", "tags"]).rename_axis("id")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((255, 255), "the masks have the values 0 and 255 only, but there are 2 classes"),
        ((12, 8), "the masks are not numbered as the classes are"),
    ],
)
def test_masks_of_another_numbering_are_not_trained_on(tmp_path, values, line):
    index = of_many(6)
    for i, name in enumerate(index.index):
        path = write_png(tmp_path / "m", name, values[i % 2])
    with pytest.raises(UserError, match="the masks cannot be trained on") as error:
        check(path, index)
    assert line in str(error.value).replace("the values of the masks", "the masks")


def test_a_corrected_mask_may_show_what_its_tags_do_not_say(tmp_path):
    index = of_many(6)
    for i, name in enumerate(index.index):
        path = write_png(tmp_path / "m", name, 12 if i in (0, 1, 3, 5) else 8)  # p0 was tagged cat
    assert check(path, index)["photos"] == 6


def test_outlines_need_the_size_of_their_image(tmp_path, index):
    path = write_coco(tmp_path / "c.json", ["tom.jpg"], ["dog"])
    content = json.loads((tmp_path / "c.json").read_text())
    for image in content["images"]:
        del image["width"], image["height"]
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"tom: .*gives no width and height of the image"):
        check(path, index)


def test_they_take_the_place_of_labels_and_come_as_often_as_asked(index):
    labels = {"tom": lambda: mask(8)}
    true = {"a/rex": lambda: mask(8), "tom": lambda: mask(12)}
    photos = dict.fromkeys(index.index, lambda: Image.new("RGB", SIZE[::-1]))
    stage = SimpleNamespace(
        training=TrainingParameters(epochs=1),
        augmentation=Augmentation(crop=32, long_side=None, flip=0, jitter=0),
    )
    samples = _labelled_photos(index, photos, CLASSES, stage, 0, (labels, Corrected(true), 3))()
    assert samples.ids == ["a/rex"] * 3 + ["tom"] * 3
    assert samples[3][1].unique().tolist() == [0, 2]
    rare = replace(stage.training, rare_share=0.9)  # each class is on a third of the photos
    stage = SimpleNamespace(training=rare, augmentation=stage.augmentation)
    often = _labelled_photos(index, photos, CLASSES, stage, 1, (labels, Corrected(true), 3))().ids
    assert len(often) > len(samples.ids)
    assert {*often} == {*samples.ids}


def test_the_graph_tells_corrected_masks_from_those_for_scoring():
    whole = register_pipelines()["__default__"]
    learned = {name: ancestors(whole, name) for name in training_nodes(whole)}
    assert {name for name, found in learned.items() if "corrected" in found} == {
        "affinity_training.train",
        "segmentation.train",
    }
    assert not any("masks" in found for found in learned.values())


def test_a_run_trains_on_them_and_leaves_them_out_of_its_scores(finished_copy, caplog):
    caplog.set_level(logging.INFO)
    catalog = finished_copy.catalog()
    index, masks = catalog.load("index"), catalog.load("masks")
    train = [i for i in index.index[index["split"] == "train"] if index.loc[i, "tags"]]
    folder = finished_copy.folder / "corrected"
    folder.mkdir()
    for photo in train[:3]:
        Image.fromarray(masks[photo]()).save(folder / f"{photo}.png")
    parameters = {"corrected": str(folder), "corrected_repeats": 2, "revision.choose_crf.least": 3}
    finished_copy.run("affinity_training", "revision", "segmentation", parameters=parameters)
    assert finished_copy.record()["inputs"]["corrected"].startswith("3 masks, ")
    assert "3 photos of train have a corrected mask" in caplog.text
    made = finished_copy.catalog(parameters=parameters)
    assert {*made.load("revision.image_scores").index} == {*train[3:]}
    assert made.load("revision.chosen_crf")["crf_photos"] == 3
    assert "by 3 corrected photos: mIoU" in caplog.text


def test_nothing_of_the_masks_for_scoring_reaches_training(finished_copy):
    catalog = finished_copy.catalog()
    index, masks = catalog.load("index"), catalog.load("masks")
    folder = finished_copy.folder / "corrected"
    folder.mkdir()
    photo = index.index[index["split"] == "train"][0]
    Image.fromarray(masks[photo]()).save(folder / f"{photo}.png")
    for path in finished_copy.data.glob("01_raw/**/SegmentationClass/*.png"):
        path.write_bytes(b"not to be read")
    finished_copy.run(
        *("cam", "affinity_training", "segmentation"),
        tags=["training"],
        parameters={"corrected": str(folder)},
    )
    assert finished_copy.record()["finished"]
