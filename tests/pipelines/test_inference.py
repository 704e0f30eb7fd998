"""Any folder of photos: mixed modes and sizes in, indexed masks of the same name and size out."""

import os
from hashlib import sha256
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from affinitynet.__main__ import main
from affinitynet.core import images
from affinitynet.core.images import upsample
from affinitynet.core.label_maps import voc_palette
from affinitynet.core.overlay import paint_overlay
from affinitynet.errors import UserError
from tests.conftest import PROJECT, SharedProject


@pytest.fixture
def folder(tmp_path):
    return make_photos(tmp_path / "photos")


def make_photos(images):
    (images / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)

    def photo(width, height):
        return Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))

    photo(60, 40).save(images / "plain.jpg")
    photo(33, 77).convert("L").save(images / "grey.png")
    photo(50, 50).convert("RGBA").save(images / "alpha.png")
    photo(64, 48).convert("CMYK").save(images / "cmyk.jpg")
    photo(48, 48).quantize(16).save(images / "palette.png")
    Image.fromarray(rng.integers(0, 65535, (30, 40), np.uint16)).save(images / "deep.png")
    rotated = photo(60, 40)
    exif = rotated.getexif()
    exif[0x0112] = 6
    rotated.save(images / "rotated.jpg", exif=exif)
    photo(200, 7).save(images / "sub" / "strip.png")
    (images / "link.png").symlink_to(images / "grey.png")
    os.mkfifo(images / "pipe.png")
    (images / "._plain.jpg").write_text("what macOS leaves beside a photo")
    (images / "notes.txt").write_text("no photo")
    return images


SIZES = {
    "plain": (60, 40),
    "grey": (33, 77),
    "link": (33, 77),
    "alpha": (50, 50),
    "cmyk": (64, 48),
    "palette": (48, 48),
    "deep": (40, 30),
    "rotated": (40, 60),
    "sub/strip": (200, 7),
}


def infer(project, images, masks, *, env="local", **parameters):
    given = {"images": str(images), "output": str(masks)} | parameters
    project.run("inference", env=env, parameters=given)


def files(folder):
    """The files of a folder that are not hidden."""
    paths = folder.rglob("*.*")
    hidden = [path for path in paths if ".affinitynet" in path.parts]
    return [path for path in folder.rglob("*.*") if path not in hidden]


def contents(folder):
    """Checksum of each file, and where each symlink leads."""
    return {
        path: os.readlink(path) if path.is_symlink() else sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_every_photo_gets_a_mask_of_its_name_and_size(finished_copy, folder, tmp_path, caplog):
    with caplog.at_level("INFO", logger="affinitynet"):
        infer(finished_copy, folder, tmp_path / "masks")
    made = f"{len(SIZES)} photos in '{folder}' have their masks, in '{tmp_path}/masks'."
    assert made in caplog.messages
    version, miou = finished_copy.records[0].stem, finished_copy.metrics()["segmentation"]["miou"]
    model = f"The network is segmentation.model {version}, environment test, mIoU {miou:.3f} on val"
    assert any(line.startswith(model) for line in caplog.messages)
    masks = {
        path.relative_to(tmp_path / "masks").with_suffix("").as_posix(): Image.open(path)
        for path in files(tmp_path / "masks")
    }
    assert {name: mask.size for name, mask in masks.items()} == SIZES
    for mask in masks.values():
        assert mask.mode == "P"
        assert mask.getpalette()[: 21 * 3] == voc_palette()[:21].ravel().tolist()
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("crf", [None, {"iterations": 2}])
def test_photos_are_segmented_within_their_tags(finished_copy, folder, tmp_path, caplog, crf):
    lines = ["file,tags", "plain.jpg,owl", "grey.png,Fish;bear", "sub/strip.png,"]
    (tmp_path / "tags.csv").write_text("\n".join(lines))
    given = {"tags": str(tmp_path / "tags.csv"), "inference": {"crf": crf}}
    infer(finished_copy, folder, tmp_path / "masks", **given)
    classes = finished_copy.catalog().load("classes")
    for name, tag in {"plain": "owl", "grey": "fish", "sub/strip": None}.items():
        mask = np.asarray(Image.open(tmp_path / f"masks/{name}.png"))
        assert {*np.unique(mask)} <= {0, classes.get(tag, 0)}
    assert "Tags that the network has not learned: bear" in caplog.text
    assert "does not name 6 photos" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,tags\nplain.jpg,bear\n", r"none of its tags \(bear\) is a class .*car, fish"),
        ("file,tags\nother.jpg,owl\n", "names none of the 9 photos"),
        (None, "there is no such file"),
    ],
)
def test_tags_of_other_photos_or_classes_are_refused(
    finished_copy, folder, tmp_path, text, message
):
    if text:
        (tmp_path / "tags.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        infer(finished_copy, folder, tmp_path / "masks", tags=str(tmp_path / "tags.csv"))
    assert not files(tmp_path / "masks")


def test_relative_paths_begin_at_the_projects_folder(finished_copy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"No photos in '{PROJECT}/gone/photos'"):
        infer(finished_copy, "gone/photos", tmp_path / "masks")
    context = finished_copy.session(parameters={"output": "some/masks"}).load_context()
    assert context.params["output"] == f"{PROJECT}/some/masks"
    assert context.catalog.get("inference.masks")._path == f"{PROJECT}/some/masks"
    assert context.params["voc_root"] == f"{finished_copy.data}/01_raw/scenes"


def test_photos_of_one_name_have_one_mask_of_the_sound_one(finished_copy, tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    (images / "a.jpg").write_bytes(b"no photo")
    Image.new("RGB", (40, 30)).save(images / "a.png")
    with pytest.raises(UserError) as error:
        infer(finished_copy, images, tmp_path / "masks")
    assert "1 of 2 photos" in str(error.value)
    assert "\n  a.jpg: " in str(error.value)
    assert Image.open(tmp_path / "masks/a.png").size == (40, 30)


@pytest.mark.parametrize("env", ["local", "tagged"])
def test_masks_names_ground_truth_and_is_never_written_to(finished_copy, folder, tmp_path, env):
    Image.new("P", (60, 40)).save(tmp_path / "plain.png")
    before = contents(tmp_path)
    given = {"images": str(folder), "masks": str(tmp_path)}
    with pytest.raises(UserError, match=r"masks.* --params output=<folder>"):
        finished_copy.run("inference", env=env, parameters=given)
    assert contents(tmp_path) == before | contents(finished_copy.folder)


@pytest.mark.parametrize("name", ["output", "overlays", "confidences", "coco"])
def test_files_of_the_user_s_are_never_replaced(finished_copy, folder, tmp_path, name):
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in ("plain.png", "plain.jpg", "results.json"):
        (mine / file).write_text("mine")
    before = contents(mine) | contents(folder)
    given = {"output": str(tmp_path / "masks"), name: str(mine)}
    with pytest.raises(UserError, match=rf"{name}={mine} holds files .*plain\.png"):
        finished_copy.run("inference", env="local", parameters={"images": str(folder)} | given)
    assert contents(mine) | contents(folder) == before
    assert not (tmp_path / "masks").exists()


def test_a_second_run_goes_into_the_same_folders_but_not_over_corrected_masks(
    finished_copy, folder, tmp_path
):
    infer(finished_copy, folder, tmp_path / "masks", **outputs(tmp_path))
    infer(finished_copy, folder, tmp_path / "masks", **outputs(tmp_path))
    mask = tmp_path / "masks/plain.png"
    corrected = Image.open(mask)
    corrected.putpixel((0, 0), (corrected.getpixel((0, 0)) + 1) % 5)
    corrected.save(mask)
    before = contents(tmp_path / "masks")
    with pytest.raises(UserError, match=r"plain\.png \(changed since it was written\)"):
        infer(finished_copy, folder, tmp_path / "masks", **outputs(tmp_path))
    assert contents(tmp_path / "masks") == before


@pytest.mark.parametrize("masks", [".", "masks"])
def test_masks_are_never_taken_for_photos_nor_written_over_them(finished_copy, tmp_path, masks):
    images = tmp_path / "photos"
    images.mkdir()
    Image.new("RGB", (40, 30), "red").save(images / "a.png")
    before = (images / "a.png").read_bytes()
    with pytest.raises(UserError, match=r"output=.* lies in images="):
        infer(finished_copy, images, images / masks)
    assert (images / "a.png").read_bytes() == before


def test_status_is_one_if_a_photo_was_skipped(finished_copy, folder, tmp_path, monkeypatch, capsys):
    (folder / "empty.png").touch()
    monkeypatch.chdir(PROJECT)
    runtime_params = {"images": folder, "output": tmp_path / "masks"}
    with pytest.raises(SystemExit) as exit_:
        main(
            *finished_copy.options(
                "--pipeline", "inference", env="local", parameters=runtime_params
            )
        )
    assert exit_.value.code == 1
    said = "".join(capsys.readouterr())
    assert "empty.png" in said
    assert "Traceback" not in said


def test_unreadable_photos_are_skipped_and_named_at_the_end(finished_copy, folder, tmp_path):
    (folder / "cut.jpg").write_bytes((folder / "plain.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    Image.open(folder / "grey.png").save(folder / "plain.png")  # a second `plain`
    with pytest.raises(UserError) as error:
        infer(finished_copy, folder, tmp_path / "masks")
    message = str(error.value)
    assert "9 of 12 photos" in message
    for name in ("cut.jpg", "empty.png", "plain.png"):
        assert f"\n  {name}: " in message
    assert len([*(tmp_path / "masks").rglob("*.png")]) == 9


def test_a_folder_without_photos_is_said(finished_copy, tmp_path):
    with pytest.raises(UserError, match="No photos in"):
        infer(finished_copy, tmp_path / "nothing", tmp_path / "masks")


def test_photos_are_never_written_to(finished_copy, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    finished_copy.run("inference", env="local", parameters={"images": str(folder)})
    assert len([*(finished_copy.data / "07_model_output/masks").rglob("*.png")]) == len(SIZES)
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


def outputs(tmp_path):
    return {name: str(tmp_path / name) for name in ("overlays", "confidences", "coco")}


def let_it_see_everything(project):
    """Give the newest network a last layer that finds all classes everywhere, at random."""
    path = max((project.data / "06_models/segmentation/model.pt").rglob("model.pt"))
    checkpoint = torch.load(path, weights_only=True)
    last = checkpoint["weights"]["head.4.weight"]
    last.normal_(generator=torch.Generator().manual_seed(0))
    torch.save(checkpoint, path)


@pytest.fixture(scope="session")
def inferred(finished_run, made_once):
    """A project after an inference with all outputs, which lie beside it; not to be changed."""

    def fill(folder):
        project, photos = finished_run.copy(folder), make_photos(folder / "photos")
        let_it_see_everything(project)
        infer(project, photos, folder / "plain")
        two = {"execution.workers": 2}
        infer(project, photos, folder / "masks", **outputs(folder), **two)

    return SharedProject(made_once("inferred", fill))


def test_overlays_confidences_and_coco_results_lie_beside_the_masks(inferred):
    folder = inferred.folder
    coco = COCO(folder / "coco/image_info.json")
    results = coco.loadRes(str(folder / "coco/results.json"))
    assert {c["name"]: c["id"] for c in coco.dataset["categories"]} == {
        "car": 1,
        "fish": 2,
        "house": 3,
        "owl": 4,
    }
    names = {image["id"]: image["file_name"] for image in coco.dataset["images"]}
    assert len(names) == len(SIZES)
    for number, file in names.items():
        name = file.rsplit(".", 1)[0]
        mask = np.asarray(Image.open(folder / f"masks/{name}.png"))
        sure = Image.open(folder / f"confidences/{name}.png")
        overlay = Image.open(folder / f"overlays/{name}.jpg")
        assert (sure.mode, sure.size) == ("L", SIZES[name])
        assert (overlay.format, overlay.mode, overlay.size) == ("JPEG", "RGB", SIZES[name])
        assert np.asarray(sure).min() >= 255 // 5  # the best of five classes
        union = np.zeros_like(mask)
        for annotation in results.imgToAnns[number]:
            drawn = results.annToMask(annotation) > 0
            union[drawn] = annotation["category_id"]
            mean = np.asarray(sure)[drawn].mean() / 255
            assert annotation["score"] == pytest.approx(mean, abs=1e-4)
        np.testing.assert_array_equal(union, mask)


def test_masks_are_the_same_with_and_without_what_lies_beside(inferred):
    plain, masks = inferred.folder / "plain", inferred.folder / "masks"
    assert len(files(plain)) == len(SIZES)
    for path in files(plain):
        assert (masks / path.relative_to(plain)).read_bytes() == path.read_bytes()


def test_an_overlay_is_half_photo_and_half_colour_with_an_outline_and_a_name():
    photo, mask = Image.new("RGB", (80, 60), (100, 100, 100)), np.zeros((60, 80), np.uint8)
    mask[10:50, 10:70] = 1
    overlay = paint_overlay(photo, mask, {"background": 0, "cat": 1})
    assert overlay.getpixel((5, 5)) == (100, 100, 100)
    assert overlay.getpixel((12, 12)) == (114, 50, 50)
    assert overlay.getpixel((10, 20)) == (255, 255, 255)
    name = np.asarray(overlay.crop((20, 20, 60, 40)))
    assert (name == (128, 0, 0)).all(axis=2).any()
    nameless = np.asarray(paint_overlay(photo, mask, {}).crop((20, 20, 60, 40)))
    assert (nameless == (114, 50, 50)).all()


def test_a_table_says_what_each_photo_shows_and_how_sure_the_network_is(inferred):
    folder = inferred.folder
    path = max(inferred.data.glob("08_reporting/inference/photos.csv/*/photos.csv"))
    table = pd.read_csv(path, index_col="id", keep_default_na=False)
    assert {*table.index} == {*SIZES}
    values = {"car": 1, "fish": 2, "house": 3, "owl": 4}
    for name, row in table.iterrows():
        mask = np.asarray(Image.open(folder / f"masks/{name}.png"))
        shares = [*map(float, row["shares"].split("|"))] if row["shares"] else []
        classes = row["classes"].split("|") if row["classes"] else []
        assert {values[each] for each in classes} == {*np.unique(mask)} - {0}
        np.testing.assert_allclose(shares, [(mask == values[c]).mean() for c in classes], atol=1e-4)
        confidence = np.asarray(Image.open(folder / f"confidences/{name}.png")).mean() / 255
        assert row["confidence"] == pytest.approx(confidence, abs=1e-3)


def test_what_was_made_is_not_made_again(finished_copy, folder, tmp_path):
    (folder / "cut.jpg").write_bytes((folder / "plain.jpg").read_bytes()[:400])
    runtime_params = outputs(tmp_path)
    with pytest.raises(UserError):
        infer(finished_copy, folder, tmp_path / "masks", **runtime_params)
    made = {
        path: path.stat().st_mtime_ns
        for name in ("masks", "confidences", "overlays")
        for path in files(tmp_path / name)
    }
    results = (tmp_path / "coco/results.json").read_bytes()
    again = [tmp_path / "masks/plain.png", tmp_path / "overlays/grey.jpg"]
    for path in again:
        path.unlink()
    with pytest.raises(UserError, match=r"9 of 10 photos"):
        infer(finished_copy, folder, tmp_path / "masks", resume=True, **runtime_params)
    assert all(path.exists() for path in again)
    for path in (*again, tmp_path / "confidences/plain.png"):
        del made[path]
    assert all(path.stat().st_mtime_ns == moment for path, moment in made.items())
    assert (tmp_path / "coco/results.json").read_bytes() == results
    with pytest.raises(UserError, match=r"9 of 10 photos"):  # nothing at all is left
        infer(finished_copy, folder, tmp_path / "masks", resume=True, **runtime_params)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", {"plain", "cmyk", "rotated"}),
        ("**/*.png", {"grey", "alpha", "palette", "deep", "link", "sub/strip"}),
        ("sub/strip.png", {"strip"}),
        ("*", {"plain", "cmyk", "rotated", "grey", "alpha", "palette", "deep", "link"}),
    ],
)
def test_photos_are_named_by_a_pattern_or_by_themselves(project, folder, pattern, names):
    given = {"images": str(folder / pattern)}
    catalog = project.catalog(env="local", parameters=given)
    found = catalog.load("inference.images")  # by file name
    assert {Path(file).with_suffix("").as_posix() for file in found} == names


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_photos_are_listed_on_the_standard_input(finished_copy, folder, tmp_path, monkeypatch, end):
    paths = [folder / "plain.jpg", folder / "sub/strip.png", folder / "gone.jpg"]
    text = "".join(f"{path}{end}" for path in paths)
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(text.encode()), encoding="utf-8"))
    with pytest.raises(UserError, match=r"2 of 3 photos(.|\n)*gone.jpg: .*No such file"):
        infer(finished_copy, "-", tmp_path / "masks")
    assert (tmp_path / "masks/plain.png").exists()
    assert (tmp_path / "masks/sub/strip.png").exists()


def test_hostile_files_are_skipped_and_named(finished_copy, tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    Image.new("RGB", (1, 1), "red").save(images / "dot.png")
    Image.new("1", (20000, 20000)).save(images / "bomb.png")
    (images / "zero.jpg").touch()
    Image.new("RGB", (9, 9)).save(images / "a.png")
    os.rename(images / "a.png", os.fsencode(images) + b"/caf\xe9.png")
    with pytest.raises(UserError) as error:
        infer(finished_copy, images, tmp_path / "masks", **outputs(tmp_path))
    message = str(error.value)
    assert "1 of 4 photos" in message
    assert "bomb.png: Image size (400000000 pixels) exceeds limit" in message
    assert "zero.jpg: " in message
    assert "caf\\xe9.png: the file's name is not UTF-8" in message
    assert [path.name for path in files(tmp_path / "masks")] == ["dot.png"]
    assert Image.open(tmp_path / "overlays/dot.jpg").size == (1, 1)


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_done(
    finished_copy, folder, tmp_path
):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"overlays=.*/file/below: cannot be written to"):
        infer(finished_copy, folder, tmp_path / "masks", overlays=str(tmp_path / "file/below"))
    assert not files(tmp_path / "masks")


def test_folders_to_write_to_lie_side_by_side(finished_copy, folder, tmp_path):
    inner = str(tmp_path / "masks/confidences")
    with pytest.raises(UserError, match="Name folders side by side"):
        infer(finished_copy, folder, tmp_path / "masks", confidences=inner)


SCORES = st.tuples(
    st.integers(1, 4),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 1000),
)


@given(case=SCORES, strip=st.integers(1, 300))
def test_strips_give_what_one_piece_gives(case, strip):
    classes, cells, size, seed = case
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(classes, *cells, generator=generator).softmax(dim=0)
    whole = upsample(scores, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "STRIP", strip)
        labels, confidence = images.upsampled_argmax(scores, size, in_255ths=True)
    best = np.sort(whole, axis=0)
    clear = np.ones(size, bool) if classes == 1 else best[-1] - best[-2] > 1e-6
    assert (labels == whole.argmax(axis=0))[clear].all()
    assert np.abs(confidence - whole.max(axis=0) * 255).max() <= 0.5 + 1e-3


def test_a_small_photo_is_done_in_one_piece():
    scores = torch.rand(21, 47, 63, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    labels, confidence = images.upsampled_argmax(scores, (375, 500), in_255ths=True)
    whole = upsample(scores, (375, 500))
    np.testing.assert_array_equal(labels, whole.argmax(axis=0))
    np.testing.assert_array_equal(confidence, np.rint(whole.max(axis=0) * 255))
