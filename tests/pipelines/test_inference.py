"""Any folder of photos: mixed modes and sizes in, indexed masks of the same name and size out."""

import numpy as np
import pytest
from PIL import Image
from tests.conftest import PROJECT

from affinitynet.__main__ import main
from affinitynet.core.label_maps import voc_palette
from affinitynet.errors import UserError


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "photos"
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
    (images / "notes.txt").write_text("no photo")
    return images


SIZES = {
    "plain": (60, 40),
    "grey": (33, 77),
    "alpha": (50, 50),
    "cmyk": (64, 48),
    "palette": (48, 48),
    "deep": (40, 30),
    "rotated": (40, 60),
    "sub/strip": (200, 7),
}


def infer(project, images, masks, **parameters):
    told = {"images": str(images), "masks": str(masks)} | parameters
    project.run("inference", env="local", parameters=told)


def test_every_photo_gets_a_mask_of_its_name_and_size(finished_copy, folder, tmp_path):
    infer(finished_copy, folder, tmp_path / "masks")
    masks = {
        path.relative_to(tmp_path / "masks").with_suffix("").as_posix(): Image.open(path)
        for path in (tmp_path / "masks").rglob("*.*")
    }
    assert {name: mask.size for name, mask in masks.items()} == SIZES
    for mask in masks.values():
        assert mask.mode == "P"
        assert mask.getpalette()[: 21 * 3] == voc_palette()[:21].ravel().tolist()
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2, 3, 4}


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


@pytest.mark.parametrize("masks", [".", "masks"])
def test_masks_are_never_taken_for_photos_nor_written_over_them(finished_copy, tmp_path, masks):
    images = tmp_path / "photos"
    images.mkdir()
    Image.new("RGB", (40, 30), "red").save(images / "a.png")
    before = (images / "a.png").read_bytes()
    with pytest.raises(UserError, match="masks"):
        infer(finished_copy, images, images / masks)
    assert (images / "a.png").read_bytes() == before


def test_an_interrupted_inference_goes_on_with_what_is_missing(finished_copy, folder, tmp_path):
    (folder / "cut.jpg").write_bytes((folder / "plain.jpg").read_bytes()[:400])
    with pytest.raises(UserError):
        infer(finished_copy, folder, tmp_path / "masks")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").rglob("*.png")}
    missing = tmp_path / "masks/plain.png"
    missing.unlink()
    with pytest.raises(UserError, match=r"8 of 9 photos"):
        infer(finished_copy, folder, tmp_path / "masks", resume=True)
    del made[missing]
    assert missing.exists()
    assert all(path.stat().st_mtime_ns == moment for path, moment in made.items())


def test_status_is_one_if_a_photo_was_skipped(finished_copy, folder, tmp_path, monkeypatch, capsys):
    (folder / "empty.png").touch()
    monkeypatch.chdir(PROJECT)
    told = {"images": folder, "masks": tmp_path / "masks"}
    with pytest.raises(SystemExit) as exit_:
        main(*finished_copy.options("--pipeline", "inference", env="local", parameters=told))
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
    assert "8 of 11 photos" in message
    for name in ("cut.jpg", "empty.png", "plain.png"):
        assert f"\n  {name}: " in message
    assert len([*(tmp_path / "masks").rglob("*.png")]) == 8


def test_a_folder_without_photos_is_said(finished_copy, tmp_path):
    with pytest.raises(UserError, match="No photos in"):
        infer(finished_copy, tmp_path / "nothing", tmp_path / "masks")


def test_photos_are_never_written_to(finished_copy, folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    infer(finished_copy, folder, tmp_path / "masks")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
