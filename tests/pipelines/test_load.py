"""A trained network outside the pipelines: loaded in one line, it predicts what they predict."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import affinitynet
from affinitynet.core import images
from affinitynet.model import Prediction


@pytest.fixture(scope="module")
def model(finished_run):
    return affinitynet.load(finished_run.data / "06_models/export")


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).integers(0, 255, (37, 61, 3), np.uint8)
    return Image.fromarray(pixels)


def same(one, other):
    return (one.mask == other.mask).all() and (one.confidence == other.confidence).all()


def test_the_package_imports_no_torch_until_a_model_is_asked_for():
    heavy = {"torch", "onnx", "mlflow", "kedro"}
    code = f"import sys, affinitynet; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="'lode'"):
        _ = affinitynet.lode


def test_predictions_are_those_of_the_run(finished_run, model):
    catalog = finished_run.catalog()
    photos = catalog.load("photos")
    masks = {name: read() for name, read in catalog.load("segmentation.predictions").items()}
    assert len(masks) == 4
    for name, prediction in zip(masks, model.predict([photos[i]() for i in masks]), strict=True):
        np.testing.assert_array_equal(prediction.mask, masks[name])


@pytest.mark.parametrize("crf", [False, True])
def test_predictions_are_those_of_the_inference_pipeline(finished_copy, tmp_path, photo, crf):
    rotated = photo.copy()
    rotated.getexif()[0x0112] = 6
    (tmp_path / "photos").mkdir()
    rotated.save(tmp_path / "photos/rotated.jpg", exif=rotated.getexif())
    photo.save(tmp_path / "photos/colour.png")
    photo.convert("L").save(tmp_path / "photos/grey.png")
    alpha = photo.convert("RGBA")
    alpha.putalpha(photo.getchannel("R"))
    alpha.save(tmp_path / "photos/alpha.png")
    if crf:
        path = next(finished_copy.data.glob("06_models/segmentation/model.pt/*/model.pt"))
        state = torch.load(path, weights_only=True)
        state["config"]["inference"]["crf"] = {"iterations": 2}
        torch.save(state, path)
        finished_copy.run(node_names=["export.pack"])
    runtime_params = {"images": str(tmp_path / "photos"), "output": str(tmp_path / "masks")}
    finished_copy.run("inference", env="local", parameters=runtime_params)
    model = affinitynet.load(finished_copy.data)
    for path in (tmp_path / "photos").iterdir():
        prediction = model.predict(path)
        written = Image.open(tmp_path / "masks" / f"{path.stem}.png")
        np.testing.assert_array_equal(prediction.mask, np.asarray(written))
        assert prediction.to_image().getpalette() == written.getpalette()
    assert model.predict(tmp_path / "photos/rotated.jpg").mask.shape == (61, 37)


def test_a_photo_is_segmented_within_its_tags(model, photo):
    names = [name for name in model.classes if name != "background"]
    for name in names:
        found = model.predict(photo, tags=[name])
        assert {*np.unique(found.mask)} <= {0, model.classes[name]}
        assert (found.confidence >= model.predict(photo).confidence - 1e-6).all()
    np.testing.assert_array_equal(model.predict(photo, tags=names).mask, model.predict(photo).mask)
    assert not model.predict(photo, tags=[]).mask.any()
    one, other = model.predict([photo, photo], tags=[["owl"], None])
    assert same(one, model.predict(photo, tags=["owl"]))
    assert same(other, model.predict(photo))


@pytest.mark.parametrize("tags", [["owl", "bear"], "owl", ["background2"]])
def test_a_tag_that_is_no_class_is_named(model, photo, tags):
    with pytest.raises(ValueError, match=r"tags: .*(bear|owl|ground2); .*car, fish, house, owl"):
        model.predict(photo, tags=tags)
    with pytest.raises(ValueError, match="each of the 1 photos"):
        model.predict([photo], tags=[["owl"], ["owl"]])


def test_a_prediction_says_how_sure_it_is_of_which_classes(model, photo):
    prediction = model.predict(photo)
    assert prediction.mask.shape == prediction.confidence.shape == (37, 61)
    assert prediction.mask.dtype == np.uint8
    assert prediction.confidence.dtype == np.float32
    assert prediction.confidence.min() >= 1 / 5 - 1e-6  # five classes: the best has no less
    assert prediction.confidence.max() <= 1
    assert prediction.classes == {"background": 0, "car": 1, "fish": 2, "house": 3, "owl": 4}
    assert {*np.unique(prediction.mask)} <= {*prediction.classes.values()}


def test_paths_images_and_arrays_are_the_same_photo(model, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    first = model.predict(photo)
    assert same(first, model.predict(np.asarray(photo)))
    assert same(first, model.predict(tmp_path / "photo.png"))
    assert same(first, model.predict([str(tmp_path / "photo.png")])[0])
    assert model.predict([]) == []


def test_a_list_is_done_in_batches_with_the_same_result(model, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    narrow = photo.resize((photo.width // 2, photo.height))
    given = [photo, narrow, (tmp_path / "photo.png").read_bytes(), narrow, *[photo] * 20]
    found = model.predict(given)
    assert len(found) == len(given)
    for one, alone in zip(found, map(model.predict, given[:4]), strict=False):
        assert (one.mask != alone.mask).mean() < 0.01
        np.testing.assert_allclose(one.confidence, alone.confidence, atol=0.02)
    assert model.predict([]) == []


def test_a_prediction_lists_what_it_shows_and_draws_it(photo):
    mask = np.zeros((photo.height, photo.width), np.uint8)
    mask[5:25, 10:50] = 2
    mask[30:34, 10:50] = 1
    confidence = np.full(mask.shape, 0.75, np.float32)
    classes = {"background": 0, "cat": 1, "dog": 2, "owl": 3}
    found = Prediction(mask, confidence, classes, photo)
    assert [*found.present] == ["dog", "cat"]
    assert found.present["dog"] == pytest.approx(800 / mask.size)
    assert found.mean_confidence == 0.75
    overlay = np.asarray(found.overlay())
    assert overlay.shape == (*mask.shape, 3)
    changed = (overlay != np.asarray(photo)).any(axis=2)
    assert not changed[:5].any()
    assert changed[mask == 2].all()
    assert (overlay[5, 10:50] == 255).all()


def test_large_photos_are_done_in_strips_with_the_same_result(model, photo, monkeypatch):
    whole = model.predict(photo)
    monkeypatch.setattr(images, "STRIP", 5 * photo.width * 8)  # eight rows of five classes
    strips = model.predict(photo)
    np.testing.assert_array_equal(strips.mask, whole.mask)
    np.testing.assert_allclose(strips.confidence, whole.confidence, atol=1e-6)


def test_a_checkpoint_of_the_run_is_the_same_model(finished_run, model, photo):
    path = next(finished_run.data.glob("06_models/segmentation/model.pt/*/model.pt"))
    assert same(affinitynet.load(str(path)).predict(photo), model.predict(photo))


def test_the_newest_version_of_a_folder_counts(finished_copy):
    finished_copy.run(node_names=["export.pack"])
    versions = sorted(finished_copy.data.glob("06_models/export/model.safetensors/*"))
    assert len(versions) == 2
    (versions[-1] / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=versions[-1].name):
        affinitynet.load(finished_copy.data / "06_models/export")


def test_what_is_no_model_is_named(finished_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        affinitynet.load(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors in this folder; `kedro run"):
        affinitynet.load(tmp_path)
    for name in ("text.safetensors", "text.pt"):
        (tmp_path / name).write_text("no model")
        with pytest.raises(ValueError, match=f"{name}: cannot be read as a checkpoint"):
            affinitynet.load(tmp_path / name)
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights.safetensors: holds no configuration"):
        affinitynet.load(tmp_path / "weights.safetensors")
    classifier = next(finished_run.data.glob("06_models/test/cam/model.pt/*/model.pt"))
    with pytest.raises(ValueError, match="kind 'cam' makes no masks"):
        affinitynet.load(classifier)


def test_weights_of_another_network_are_named(finished_copy):
    path = next(finished_copy.data.glob("06_models/segmentation/model.pt/*/model.pt"))
    state = torch.load(path, weights_only=True)
    del state["weights"]["head.0.weight"]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"model.pt: weights and configuration do not fit"):
        affinitynet.load(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named(finished_run):
    with pytest.raises(ValueError, match="no CUDA device"):
        affinitynet.load(finished_run.data / "06_models/export", device="cuda")


def test_what_is_no_photo_is_named(model, tmp_path):
    (tmp_path / "notes.jpg").write_text("no photo")
    with pytest.raises(ValueError, match=r"notes.jpg: no image that Pillow can read"):
        model.predict(tmp_path / "notes.jpg")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb.png: Image size .* exceeds limit"):
        model.predict(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="a folder; name a photo in it"):
        model.predict(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing.jpg"):
        model.predict(tmp_path / "missing.jpg")
    for array in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match=r"\(height, width, 3\) uint8"):
            model.predict(array)
    with pytest.raises(ValueError, match="a path, a file's bytes, a Pillow image or an array"):
        model.predict(7)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", None])
def test_a_device_of_an_unknown_name_is_named(finished_run, device):
    with pytest.raises(ValueError, match=r"there is none of this name; give auto, cpu, cuda"):
        affinitynet.load(finished_run.data / "06_models/export", device=device)


def test_a_folder_with_models_in_several_places_is_refused(finished_run, tmp_path):
    file = max((finished_run.data / "06_models/export").rglob("model.safetensors/*/*.safetensors"))
    for place in ("one", "other"):
        copy = tmp_path / place / file.parent.name / file.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"models lie in several folders; name one of them"):
        affinitynet.load(tmp_path)
    assert affinitynet.load(tmp_path / "one").classes["owl"] == 4
