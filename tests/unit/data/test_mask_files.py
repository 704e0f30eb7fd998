"""Masks that are named otherwise than their photos."""

import json

import numpy as np
import pytest
from PIL import Image

from affinitynet.core.label_maps import read_mask, voc_palette
from affinitynet.data.labelmap import parse_labelmap
from affinitynet.data.mask_files import match_mask_files
from affinitynet.datasets import MasksDataset, PhotosDataset
from affinitynet.datasets.masks import MasksHeaderDataset

PHOTOS = ["rex", "tom", "beach/both", "beach/empty"]


@pytest.mark.parametrize(
    ("masks", "note"),
    [
        (PHOTOS, ""),
        (PHOTOS[:1], ""),
        (["Rex", "TOM", "beach/Both"], ""),
        (["masks/rex", "masks/beach/both"], ""),
        (["rex", "tom", "both"], ""),
        (["rex_mask", "tom_mask", "beach/both_mask"], "<photo>_mask"),
        (["mask_rex", "mask_tom", "beach/mask_both"], "mask_<photo>"),
        (["rex_seg", "tom_seg", "both_seg"], "<photo>_seg"),
        (["gt-rex-1", "gt-tom-1", "beach/gt-both-1"], "gt-<photo>-1"),
        (["rex.jpg", "tom.jpg"], ""),
        (["rex.jpg_mask", "tom.jpg_mask"], "<photo>.jpg_mask"),
    ],
)
def test_masks_are_found_by_the_names_of_photos(masks, note):
    matched = match_mask_files(masks, PHOTOS, "m")
    assert len(matched.files) == len(masks)
    for photo, mask in matched.files.items():
        assert photo.split("/")[-1] in mask.lower()
    assert matched.notes == ([f"masks=m: the masks are named {note}"] if note else [])
    assert not matched.problems


def test_numbers_are_not_taken_for_parts_of_each_other():
    photos = [str(number) for number in range(1, 30)]
    matched = match_mask_files([f"{photo}_mask" for photo in photos], photos, "m")
    assert matched.files == {photo: f"{photo}_mask" for photo in photos}


def test_folders_of_images_and_masks_lie_beside_each_other():
    photos = ["train/images/a", "train/images/b", "val/images/a"]
    masks = [photo.replace("images", "masks") for photo in photos]
    matched = match_mask_files(masks, photos, "m")
    assert matched.files == dict(zip(photos, masks, strict=True))


def test_folders_count_only_where_names_do_not_suffice():
    photos = ["train/cat/a", "train/dog/b", "val/cat/c"]
    matched = match_mask_files(["x/a", "x/b", "y/c"], photos, "m")
    assert matched.files == dict(zip(photos, ["x/a", "x/b", "y/c"], strict=True))


def test_two_masks_of_one_photo_are_none():
    matched = match_mask_files(["a/rex", "b/rex", "tom"], PHOTOS, "m")
    assert matched.files == {"tom": "tom"}
    assert matched.notes == ["masks=m: 2 masks are of no photo: a/rex, …"]


def test_masks_of_other_photos_are_refused():
    matched = match_mask_files(["x1", "x2"], PHOTOS, "m")
    assert matched.problems == [
        "masks=m: none of the 2 masks has the name of a photo: there is a mask 'x1' and a photo "
        "'beach/both'; name them alike"
    ]


LABELMAP = (
    b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,183::\n dog: 0,128,0::\n"
)


def test_a_labelmap_names_values_and_colours():
    for source in (LABELMAP, LABELMAP.replace(b"\n", b"\r\n"), LABELMAP.decode().encode("utf-16")):
        found = parse_labelmap(source, "labelmap.txt")
        assert found.classes == ["cat", "dog"]
        assert found.values == {(0, 0, 0): 0, (250, 50, 183): 1, (0, 128, 0): 2}
    assert parse_labelmap(b"void:1,2,3::\na:b:4,5,6::", "m").values == {
        (1, 2, 3): 255,
        (4, 5, 6): 1,
    }
    with pytest.raises(ValueError, match="line 1: is no <name>:<red>,<green>,<blue>::"):
        parse_labelmap(b"cat 250 50 183", "labelmap.txt")


@pytest.fixture
def folder(tmp_path):
    for name in ("rex.jpg", "tom.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 3)).save(path)
    (tmp_path / "masks").mkdir()
    return tmp_path


def datasets(folder, **options):
    places = {"path": str(folder / "masks"), "photos": str(folder / "images")} | options
    return MasksDataset(**places).load(), MasksHeaderDataset(**places).load()


def save(folder, values, *names):
    for name in names:
        Image.fromarray(np.array(values, np.uint8)).save(folder / "masks" / name)


def test_masks_have_suffixes_of_any_case_and_format(folder):
    save(folder, [[0, 1]], "rex_mask.PNG", "tom_mask.tif")
    (folder / "masks/notes.txt").write_text("")
    (folder / "masks/._rex_mask.png").write_bytes(b"")
    masks, header = datasets(folder)
    assert {name: read().tolist() for name, read in masks.items()} == {
        "rex": [[0, 1]],
        "tom": [[0, 1]],
    }
    assert not masks.binary
    assert header.notes == [f"masks={folder}/masks: the masks are named <photo>_mask"]
    assert not header.classes
    assert not header.problem


def test_masks_beside_their_photos_are_found(folder):
    save(folder, [[0, 1]], "rex.png", "tom.png")
    masks, header = datasets(folder, path=str(folder))
    assert [*masks] == ["rex", "tom"]
    assert not header.problem


def test_masks_among_their_photos_are_found(folder):
    save(folder, [[0, 1]], "../images/rex_mask.png", "../images/tom_mask.png")
    masks, header = datasets(folder, path=str(folder / "images"))
    assert [*masks] == ["rex", "tom"]
    assert not header.problem


def test_of_binary_masks_255_is_the_object(folder):
    save(folder, [[0, 255]], "rex.png", "tom.png")
    masks, _ = datasets(folder)
    assert masks.binary
    assert masks["rex"]().tolist() == [[0, 1]]
    save(folder, [[1, 255]], "tom.png")
    masks, _ = datasets(folder)
    assert not masks.binary
    assert masks["rex"]().tolist() == [[0, 255]]


def test_colour_masks_are_read_by_the_labelmap_beside_them(folder):
    save(folder, [[[250, 50, 183], [0, 128, 0]]], "rex.png", "tom.png")
    (folder / "labelmap.txt").write_bytes(LABELMAP)
    masks, header = datasets(folder)
    assert header.classes == ["cat", "dog"]
    assert masks["tom"]().tolist() == [[1, 2]]
    (folder / "labelmap.txt").rename(folder / "colours.txt")
    masks, header = datasets(folder, labelmap=str(folder / "colours.txt"))
    assert header.classes == ["cat", "dog"]
    assert masks["tom"]().tolist() == [[1, 2]]
    _, header = datasets(folder, labelmap=str(folder / "gone.txt"))
    assert "No such file" in header.problem


def test_colours_of_voc_need_no_labelmap(folder):
    save(folder, voc_palette()[[[0, 8, 255]]], "rex.png", "tom.png")
    masks, _ = datasets(folder)
    assert masks["rex"]().tolist() == [[0, 8, 255]]


def test_jpegs_are_reported(folder):
    Image.new("L", (4, 3)).save(folder / "masks/rex.jpg")
    masks, _ = datasets(folder)
    with pytest.raises(Exception, match="is a JPEG, which does not keep a mask's values"):
        masks["rex"]()


@pytest.mark.parametrize("masks", [["cat/rex", "dog/rex"], ["rex.gif", "rex.png"]])
def test_several_masks_of_one_photo_are_named(masks):
    matched = match_mask_files(masks, ["rex"], "m")
    assert matched.problems == [
        f"masks=m: photos have several masks, as '{masks[0]}' and '{masks[1]}' of 'rex'; keep one "
        "for each photo, or name the folder that has one"
    ]


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("rex.jpg", "rex.png"),
        ("rex.jpg", "rex_mask.png"),
        ("rex.png", "rex_mask.png"),
        ("images/rex.png", "masks/rex.png"),
        ("rex.jpg", "SegmentationClass/rex.png"),
    ],
)
def test_masks_lie_among_the_photos(tmp_path, photo, mask):
    for file, value in ((photo, 9), (mask, 1), ("SegmentationObject/rex.png", 7)):
        if file.startswith("SegmentationObject") and not mask.startswith("Segmentation"):
            continue
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((16, 16), value, np.uint8)).save(tmp_path / file)
    folder = str(tmp_path)
    (read,) = MasksDataset(path=folder, photos=folder).load().values()
    assert np.unique(read()) == [1]
    header = MasksHeaderDataset(path=folder, photos=folder).load()
    assert not header.problem
    photos = {*PhotosDataset(path=folder).load()} - header.among
    assert {name for name in photos if "Segmentation" not in name and "masks" not in name} == {
        photo if mask == "rex.png" else photo.rsplit(".", 1)[0]
    }


def test_outlines_beside_the_photos_are_drawn(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "rex.png")
    shape = {"label": "dog", "shape_type": "polygon", "points": [[2, 2], [9, 2], [9, 9]]}
    (tmp_path / "rex.json").write_text(json.dumps({"shapes": [shape], "imagePath": "rex.png"}))
    folder = str(tmp_path)
    (read,) = MasksDataset(path=folder, photos=folder).load().values()
    assert np.unique(read()).tolist() == [0, 1]


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_masks_that_are_not_there_are_named_once(tmp_path, path):
    (tmp_path / "empty").mkdir()
    output = MasksHeaderDataset(path=str(tmp_path / path), photos=str(tmp_path)).load().problem
    assert output.startswith(f"masks={tmp_path / path}: ")


def test_a_palette_of_vocs_colours_in_another_order():
    mask = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8))
    mask.putpalette(voc_palette()[[0, 5, 3]].tobytes())
    assert read_mask(mask).tolist() == [[0, 5], [3, 3]]
    mask.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert read_mask(mask).tolist() == [[0, 1], [2, 2]]
