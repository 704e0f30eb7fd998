"""Any folder of photos: mixed modes and sizes in, indexed masks of the same name and size out."""

import numpy as np
import pytest
from PIL import Image

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


def infer(project, images, masks):
    project.run("inference", env="local", parameters={"images": str(images), "masks": str(masks)})


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
