"""A folder of photos and a file of tags: every format, and everything wrong that can be."""

import json
import os
import re
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affinitynet.data.coco import parse_coco
from affinitynet.data.files import name_photos
from affinitynet.data.masks import draw_masks
from affinitynet.data.near_duplicates import difference_hash, group_near_duplicates
from affinitynet.data.parameters import DataSet
from affinitynet.data.report import list_warnings
from affinitynet.data.split import divide_groups, draw_val
from affinitynet.data.tag_file import read_tagged
from affinitynet.datasets import MasksDataset, MasksHeaderDataset, PhotosDataset, TagsDataset
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.ingestion.nodes import (
    TRAINED,
    build_index,
    check_data_set,
    inspect_photos,
)
from affinitynet.pipelines.scenes.render import render_scene
from affinitynet.runs.record import flatten
from affinitynet.training.parameters import TrainingParameters
from tests.conftest import PROJECT, SCORED, SharedProject, all_but_export

FILES = ["rex.jpg", "tom.png", "beach/both.webp", "beach/empty.tif"]
TAGS = {"rex": "dog", "tom": "cat", "beach/both": "cat|dog", "beach/empty": ""}
OPTIONS = DataSet(
    layout="tagged",
    tags="tags.csv",
    classes=None,
    mask_classes=None,
    strict=False,
    val_share=0.5,
)
PAGE = (PROJECT / "docs/data.md").read_text()
EXAMPLES = dict(re.findall(r'```\w+ title="(.+?)"\n(.+?)```', PAGE, flags=re.DOTALL))


def noise(seed, size=(64, 48)):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
    """The photos that docs/data.md speaks of."""
    for seed, file in enumerate(FILES):
        path = tmp_path / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(path)
    return tmp_path / "photos"


def load(folder):
    return PhotosDataset(path=str(folder)).load()


def read(folder, text, **options):
    source = text.encode() if isinstance(text, str) else text
    return read_tagged(load(folder), replace(OPTIONS, **options), source)


def ingest(folder, text, truth=None, header=None, **options):
    """The index, the classes and the report, as the pipeline makes them."""
    source = text.encode() if isinstance(text, str) else text
    given = replace(OPTIONS, **options | ({"tags": None} if text is None else {}))
    execution = Execution(workers=1)
    inspected, findings = inspect_photos(
        load(folder), given, 0, execution, None, None, source, header
    )
    stage = SimpleNamespace(training=TrainingParameters(epochs=1, batch_size=1))
    parameters = {"mask_folder": "", "images": str(folder)} | dict.fromkeys(TRAINED, stage)
    report, *_ = check_data_set(inspected, findings, truth or {}, given, parameters, execution)
    return *build_index(inspected, findings), report


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_page_say_the_same(folder, name):
    index, classes, report = ingest(folder, EXAMPLES[name])
    assert index["tags"].to_dict() == TAGS
    assert classes == {"cat": 1, "dog": 2}
    assert set(index["split"]) == {"train", "val"}
    assert index[["width", "height"]].to_numpy().tolist() == [[64, 48]] * 4
    assert report["without_tags"] == 1


def test_the_page_has_an_example_of_every_format():
    assert [*EXAMPLES] == ["tags.csv", "flags.csv", "split.csv", "tags.jsonl", "instances.json"]


def test_the_split_that_is_given_is_kept(folder):
    index, *_ = ingest(folder, EXAMPLES["split.csv"])
    assert index["split"].to_dict() == dict.fromkeys(TAGS, "train") | {"beach/both": "val"}


def test_sub_folders_name_the_class(tmp_path):
    files = ["dog/a.jpg", "dog/2024/b.jpg", "cat/a.jpg", "background/c.jpg", "d.jpg"]
    for seed, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(tmp_path / file)
    tagged = read(tmp_path, None, tags=None)
    assert tagged.photos["tags"].to_dict() == {
        "dog/a": ["dog"],
        "dog/2024/b": ["dog"],
        "cat/a": ["cat"],
        "background/c": [],
        "d": [],
    }


def test_sub_folders_may_be_splits(tmp_path):
    for seed, file in enumerate(["train/dog/a.jpg", "train/cat/a.jpg", "val/dog/b.jpg"]):
        (tmp_path / file).parent.mkdir(parents=True)
        noise(seed).save(tmp_path / file)
    index, classes, _ = ingest(tmp_path, None)
    assert classes == {"cat": 1, "dog": 2}
    assert index["split"].to_dict() == {
        "train/dog/a": "train",
        "train/cat/a": "train",
        "val/dog/b": "val",
    }


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile,tags\r\nrex.jpg,dog\r\ntom.png,cat\r\n",  # Excel's byte order mark
        "file;tags\nrex.jpg;dog\ntom.png;cat\n",  # Excel in Europe
        "file\ttags\nrex.jpg\tdog\ntom.png\tcat\n",
        "tags,file\n dog ,./rex.jpg\ncat;;cat,tom.png",
        'file,tags\nrex,"dog"\ntom,cat',
        "file,tags\nrex.jpg,dog\ntom.png,cat\n".encode("utf-16"),
        '{"file": "rex.jpg", "tags": ["\u2028dog"]}\n{"file": "tom.png", "tags": ["cat"]}',
    ],
)
def test_spellings_that_are_understood(folder, text):
    tagged = read(folder, text)
    assert tagged.photos["tags"].to_dict() == {"rex": ["dog"], "tom": ["cat"]}
    assert not tagged.problems
    assert tagged.warnings == [
        "2 photos in the folder are not named in tags.csv: they are left out"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tags=tags.csv: the file is empty"),
        ("name,tags\nrex,dog", "its columns are name, tags; they must be file, tags"),
        ("file\nrex.jpg", "its columns are file; they must be"),
        ("file,tags,cat\nrex.jpg,dog,1", "the column tags has tags, and cat has flags"),
        ("file,cat,cat\nrex.jpg,1,0", "the column cat is there twice"),
        ("file,cat,dog\nrex.jpg,0.7,1", "line 2: '0.7' in the column cat is neither 0 nor 1"),
        ("file,tags\nrex.jpg,dog,cat", "line 2: 3 cells where there are 2 columns; quote a cell"),
        (b"file,tags\nrex.jpg,d\0og", "line 2: has NUL bytes; save the file as"),
        ("\n,,\n", "its columns are (an empty line); they must be"),
        (b"PK\x03\x04 xl/workbook.xml", "is a spreadsheet; save the sheet as CSV"),
        (b"PAR1", "is a Parquet file; write it as CSV"),
        ("[" * 100_000, 'line 1: is no {"file": "…"'),
        ('file,tags\nrex.jpg,"dog', "line 2: unexpected end of data"),
        ('{"file": "rex.jpg", "tags": ["dog"]}\nrex', 'line 2: is no {"file": "…"'),
        ('{"file": "rex.jpg", "tags": [[1]]}', "line 1: file must be a text and tags a list"),
        ('{"file": "rex.jpg"}\n{"file": "a"}', "its columns are file; they must be"),
        ('{"tags": ["dog"]}', 'line 1: is no {"file": "…"'),
        ("[1, 2]", "is neither JSON Lines nor a COCO file"),
        ('{"images": []}', "is no COCO file of instances: 'categories' is missing"),
    ],
)
def test_what_is_no_tag_file_is_reported(folder, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(folder, text)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            "rex.jpg,dog,train\nrex.jpg,cat,val",
            "'rex' is in two splits: tags.csv, line 2, tags.csv, line 3",
        ),
        ("rex.jpg,dog,train\ngone.jpg,cat,val", "line 3: there is no photo 'gone.jpg'"),
        ("rex.jpg,dog,odd\ntom.png,cat,val", "line 2: the split 'odd' is none of train, val"),
        ("rex.jpg,dog,train\ntom.png,cat,", "some photos have a split and some have none"),
    ],
)
def test_rows_that_do_not_fit_are_reported(folder, rows, problem):
    tagged = read(folder, f"file,tags,split\n{rows}")
    assert problem in "\n".join(tagged.problems)


def test_all_problems_come_in_one_message(folder):
    text = "file,tags,split\nrex.jpg,dog,train\nrex.png,cat,train\ngone.jpg,cat,odd\ntom,,odd\n"
    masks = {"rex": lambda: np.full((3, 5), 9, np.uint8)}
    with pytest.raises(UserError) as error:
        ingest(folder, text, masks)
    message = str(error.value)
    assert message.startswith(f"5 problems with the data set in '{folder}' (parameter images):")
    for line in ("the same photo, 'rex'", "no photo 'gone.jpg'", "'odd'", "5 x 3", "values [9]"):
        assert line in message


def test_no_index_is_built_of_a_data_set_with_problems():
    with pytest.raises(UserError, match="--pipeline ingestion lists them"):
        build_index(pd.DataFrame({"problem": []}), {"problems": ["one"], "classes": {}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["a|b"]}, r"'a\|b': a name must not contain"),
        ({"classes": ["c" * 201]}, "the class 'c+…': a name has 200 characters at most"),
        ({"classes": ["cat"], "mask_classes": ["dog"]}, "'cat' is none of data_set.mask_classes"),
        ({"classes": [f"c{i}" for i in range(255)]}, "255 classes are too many"),
        ({"classes": ["zebra"]}, "classes: no photo has the tag 'zebra'; the tags are: cat, dog"),
        ({"classes": ["Dog"]}, "no photo has the tag 'Dog'; the tags are: dog"),
    ],
)
def test_wrong_parameters_are_reported(folder, options, message):
    with pytest.raises(UserError, match=message):
        ingest(folder, EXAMPLES["split.csv"], **options)


def test_half_a_character_is_reported(folder):
    with pytest.raises(UserError, match="half a character; save the tags as UTF-8"):
        ingest(folder, r'[{"file": "rex.jpg", "tags": ["\ud800"]}]')


def test_missing_files_and_folders_are_reported(folder, tmp_path):
    with pytest.raises(UserError, match=r"tags=tags.csv: there is no such file"):
        inspect_photos(
            load(folder),
            OPTIONS,
            0,
            Execution(workers=1),
            *[None] * 4,
        )
    with pytest.raises(UserError, match=r"no such folder, or no photo in it \(.jpg, .jpeg"):
        ingest(tmp_path / "nowhere", EXAMPLES["tags.csv"])
    assert TagsDataset(filepath=str(tmp_path / "gone.csv")).load() is None
    assert TagsDataset(filepath=None).fingerprint() == "none"


def test_no_tags_at_all_are_reported(tmp_path):
    noise(0).save(tmp_path / "a.jpg")
    noise(1).save(tmp_path / "b.jpg")
    with pytest.raises(UserError, match="no sub-folder names a class: give the tags with tags="):
        ingest(tmp_path, None)


def test_listed_classes_choose_photos_and_their_order(folder):
    text = EXAMPLES["split.csv"]
    index, classes, report = ingest(folder, text, classes="dog;cat")
    assert classes == {"dog": 1, "cat": 2}
    assert index["tags"]["beach/both"] == "dog|cat"
    index, classes, report = ingest(folder, text, classes=["dog"])
    assert index["tags"].to_dict() == {"rex": "dog", "beach/both": "dog", "beach/empty": ""}
    assert "tags that are none of the classes are left out: cat (2)" in report["warnings"]


def test_tags_that_differ_in_case_are_doubted(folder):
    tagged = read(folder, "file,tags\nrex.jpg,Dog\ntom.png,dog")
    assert "tags that differ only in case are different classes: Dog, dog" in tagged.warnings


def test_one_class_and_many(tmp_path):
    rows = []
    for seed in range(60):
        noise(seed).save(tmp_path / f"{seed}.jpg")
        rows.append(f"{seed}.jpg,c{seed % 30:02}")
    _, classes, _ = ingest(tmp_path, "file,tags\n" + "\n".join(rows))
    assert list(classes.values()) == list(range(1, 31))
    _, classes, report = ingest(tmp_path, "file,tags\n" + re.sub(r"c\d\d", "dog", "\n".join(rows)))
    assert classes == {"dog": 1}
    assert any(line.startswith("all training photos show dog") for line in report["warnings"])


def giant_png(width, height):
    """The header of a PNG that claims to be so large: a decompression bomb."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def test_a_hostile_directory(folder):
    """Whatever lies in it is left out and reported; the sound photos are used."""
    whole = (folder / "rex.jpg").read_bytes()
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no photo")
    (folder / "bomb.png").write_bytes(giant_png(20_000, 20_000))
    noise(9, (1, 1)).save(folder / "dot.png")
    noise(8).save(folder / "twin.jpg")
    noise(7).save(folder / "twin.png")
    noise(6).save(folder / ".hidden.jpg")
    (folder / "notes.txt").write_text("no photo either")
    (folder / "loop").symlink_to(folder)
    (folder / "dead.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    noise(4).save(folder / f"{'n' * 240}.jpg")
    noise(3).save(folder / "exif.jpg", exif=b"Exif\0\0broken")
    (folder / " back\\slash").mkdir()
    noise(2).save(folder / " back\\slash/a.jpg")
    bad_name = os.fsencode(folder) + b"/caf\xe9.jpg"
    Path(os.fsdecode(bad_name)).write_bytes(whole)
    noise(5).save(folder / 'ein Bär, "so".jpg')

    index, classes, report = ingest(folder, None)
    assert not classes.keys() - {"beach", "back\\slash"}
    odd = {'ein Bär, "so"', "exif", " back\\slash/a"}
    assert {*index.index} == {*TAGS, "twin.jpg", "twin.png", *odd}
    why = report["left_out"]["why"]
    assert report["left_out"]["photos"] == len(why) == 7
    assert why["n" * 240] == "has too long a name; rename it"
    assert why["zero"] == why["text"] == "cannot be read (no image that Pillow can read)"
    assert "truncated" in why["cut"].lower()
    assert "exceeds limit" in why["bomb"]
    assert why["dot"] == "is too small: 1 x 1 pixels"
    assert "No such file" in why["dead"]
    assert "names are no UTF-8 are left out; rename them: caf\\udce9" in "".join(report["warnings"])


def test_strict_photos_must_all_be_readable(folder):
    (folder / "rex.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="rex: cannot be read"):
        ingest(folder, EXAMPLES["tags.csv"], strict=True)


def test_no_photo_is_opened_twice(folder):
    opened = []
    photos = {
        name: lambda name=name, read=read: opened.append(name) or read()
        for name, read in load(folder).items()
    }
    source = EXAMPLES["tags.csv"].encode()
    inspect_photos(photos, OPTIONS, 0, Execution(workers=1), None, None, source, None)
    assert sorted(opened) == sorted(TAGS)


@given(
    st.lists(st.sampled_from(["a.jpg", "a.png", "a.jpg.png", "a", "b.jpg", "c/a.jpg"]), unique=True)
)
def test_ids_are_as_many_as_files(files):
    names = name_photos(files)
    assert sorted(names.values()) == sorted(files)


def pack(codes):
    return [np.packbits(code).tobytes().hex() for code in codes]


def test_near_duplicates_are_those_of_a_representative():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (60, 128))
    for row in range(30, 60):  # copies with some bits flipped
        codes[row] = codes[rng.integers(0, 30)]
        codes[row, rng.choice(128, rng.integers(0, 12), replace=False)] ^= 1
    distance = (codes[:, None] != codes).sum(axis=-1)
    groups = group_near_duplicates([*pack(codes), "", ""])
    assert groups[60] != groups[61]
    same = np.equal.outer(groups[:60], groups[:60])
    assert same[distance == 0].all()
    assert distance[same].max() <= 14
    assert len({*groups[:60]}) < 60
    for group in {*groups[:60]}:
        rows = np.flatnonzero(groups[:60] == group)
        assert (distance[np.ix_(rows, rows)].max(axis=1) <= 7).any()


def test_near_duplicates_do_not_chain():
    """Each photo is near the next one, as of a camera that turns, but not near all others."""
    codes = np.tril(np.ones((128, 128), int))
    groups = group_near_duplicates(pack(codes))
    assert np.bincount(groups).max() <= 15


def test_ten_thousand_frames_of_one_camera_take_little_memory():
    rng = np.random.default_rng(0)
    codes = np.repeat(rng.integers(0, 2, (1, 128)), 10_000, axis=0)
    for code in codes:
        code[rng.choice(128, rng.integers(0, 24), replace=False)] ^= 1
    hashes = pack(codes)
    tracemalloc.start()
    groups = group_near_duplicates(hashes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.bincount(groups).max() > 1000
    assert peak < 20e6


def test_hashes_survive_resizing_and_compression(tmp_path):
    photo = noise(0, (320, 240))
    photo.resize((200, 150)).save(tmp_path / "a.jpg", quality=60)
    hashes = [difference_hash(photo), difference_hash(Image.open(tmp_path / "a.jpg"))]
    assert len(set(group_near_duplicates(hashes))) == 1
    others = [difference_hash(noise(seed, (320, 240))) for seed in range(40)]
    assert len(set(group_near_duplicates(others))) == 40


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.1, 0.2, 0.5]))
def test_val_has_its_share_of_every_class(seed, num_classes, share):
    rng = np.random.default_rng(seed)
    tags = rng.random((200, num_classes)) < rng.uniform(0.05, 0.6, num_classes)
    groups = np.arange(200)
    val = draw_val(tags, groups, share, seed)
    assert abs(val.mean() - share) < 0.06
    assert (np.abs(tags[val].sum(axis=0) - share * tags.sum(axis=0)) <= 2 + 0.1 * tags.sum(0)).all()
    assert (val == draw_val(tags, groups, share, seed)).all()


def test_near_duplicates_are_drawn_to_one_side():
    groups = np.repeat(np.arange(50), 3)
    val = draw_val(np.ones((150, 1), bool), groups, 0.2, 0)
    assert (val.reshape(50, 3).all(axis=1) == val.reshape(50, 3).any(axis=1)).all()
    assert 24 <= val.sum() <= 36


def test_warnings_of_the_data_report():
    table = pd.DataFrame(
        {
            "split": ["train", "train", "train", "val"],
            "tags": ["horse|rider", "horse|rider", "", "horse"],
            "problem": ["", "", "", ""],
            "repairs": ["", "", "", "of one colour"],
            "group": [0, 1, 2, 0],
        },
        index=["a", "b", "c", "d"],
    )
    warnings = "\n".join(list_warnings(table, {"horse": 1, "rider": 2}, []))
    assert "1 photos are of one colour and show nothing: d" in warnings
    assert "1 training photos have no tags" in warnings
    assert "fewer than 20 training photos: horse (2), rider (2)" in warnings
    assert "always seen together: horse, rider" in warnings
    assert "1 groups of near-duplicates lie in train and val" in warnings
    assert "a = d" in warnings
    assert "there are no masks" in warnings


def test_masks_of_coco_are_drawn(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(EXAMPLES["instances.json"])
    masks = MasksDataset(path=str(path)).load()
    assert masks.keys() == {*FILES}  # nothing says which photos there are
    both = masks["beach/both.webp"]()
    assert both.shape == (48, 64)
    assert [both[20, 20], both[15, 45], both[0, 0]] == [1, 2, 0]
    assert not masks["beach/empty.tif"]().any()


def masks_of(coco, photos=TAGS):
    return draw_masks(parse_coco(coco, "m.json"), dict.fromkeys(photos), "m.json")


def test_small_instances_lie_over_large_ones_and_crowds_count():
    coco = json.loads(EXAMPLES["instances.json"])
    square = {"image_id": 10, "category_id": 17, "area": 9}
    big = {"image_id": 10, "category_id": 18, "area": 900}
    runs = {"size": [48, 64], "counts": [0, 48 * 64]}
    coco["annotations"] = [
        square | {"segmentation": [[5, 5, 8, 5, 8, 8, 5, 8]]},
        big | {"segmentation": [[0, 0, 30, 0, 30, 30, 0, 30]]},
        square | {"area": None, "iscrowd": 1, "segmentation": runs},
    ]
    drawn = masks_of(coco)
    mask = drawn.masks["beach/empty"]()
    assert [mask[6, 6], mask[20, 20], mask[40, 40]] == [1, 2, 1]
    assert drawn.notes == ["m.json: crowds, counted as the class that they are of: 1"]


def test_a_mask_file_that_is_no_coco_file_has_no_masks(tmp_path):
    (tmp_path / "m.json").write_text("{}")
    assert MasksDataset(path=str(tmp_path / "m.json")).load() == {}


@pytest.fixture
def pets(tmp_path):
    """Twelve photos, a CSV of their tags, and COCO's instances with the ids the other way."""
    names = ["cat", "dog", "owl"]
    (tmp_path / "photos").mkdir()
    images, annotations, rows = [], [], ["file,tags"]
    for number in range(12):
        name = names[number % 3]
        noise(number).save(tmp_path / f"photos/{number}.jpg")
        rows.append(f"{number}.jpg,{name}")
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 48})
        box = [10, 10, 30, 10, 30, 30, 10, 30]
        category = 9 - names.index(name)
        annotations.append({"image_id": number, "category_id": category, "segmentation": [box]})
    categories = [{"id": 9 - i, "name": f" {name}\u00a0"} for i, name in enumerate(names)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    (tmp_path / "tags.csv").write_text("\n".join(rows))
    return tmp_path


def test_tags_and_masks_of_different_files_are_numbered_by_name(pets):
    paths = {"path": str(pets / "instances.json"), "photos": str(pets / "photos")}
    masks, header = MasksDataset(**paths).load(), MasksHeaderDataset(**paths).load()
    tags = (pets / "tags.csv").read_text()
    _, classes, report = ingest(pets / "photos", tags, masks, header)
    assert classes == {"cat": 3, "dog": 2, "owl": 1}
    assert not [line for line in report["warnings"] if "tags and masks" in line]
    for number, name in enumerate(("cat", "dog", "owl")):
        assert {*np.unique(masks[str(number)]())} == {0, classes[name]}
    with pytest.raises(UserError, match=r'give --params "mask_classes=owl;dog;cat"'):
        ingest(pets / "photos", tags, masks)
    mended = ingest(pets / "photos", tags, masks, mask_classes="owl;dog;cat")
    assert mended[1] == classes
    _, classes, _ = ingest(pets / "photos", tags, masks, header, classes="dog;cat")
    assert classes == {"dog": 2, "cat": 3}


def test_masks_numbered_as_voc_does_stop_with_one_problem(pets):
    voc = {"cat": 8, "dog": 12, "owl": 20}
    masks = {
        str(number): lambda name=name: np.full((48, 64), voc[name], np.uint8)
        for number, name in enumerate(["cat", "dog", "owl"] * 4)
    }
    with pytest.raises(UserError) as error:
        ingest(pets / "photos", (pets / "tags.csv").read_text(), masks)
    assert str(error.value).startswith("1 problem with")
    given = str(error.value).split('"mask_classes=')[1].rstrip('"')
    _, classes, _ = ingest(
        pets / "photos", (pets / "tags.csv").read_text(), masks, mask_classes=given
    )
    assert classes == voc


def test_photos_that_are_found_by_a_part_of_their_path_are_named(pets):
    tags = (pets / "tags.csv").read_text().replace("\n", "\nC:\\mine\\")
    *_, report = ingest(pets / "photos", tags)
    (warning,) = [line for line in report["warnings"] if "a part of their path" in line]
    assert warning.startswith("files that are found by a part of their path: 12 ('C:\\mine\\0.jpg'")


def test_background_before_the_names_of_the_mask_values_is_value_0(pets):
    _, classes, _ = ingest(
        pets / "photos", (pets / "tags.csv").read_text(), mask_classes="_background_;owl;dog;cat"
    )
    assert classes == {"cat": 3, "dog": 2, "owl": 1}


def test_a_masks_file_without_outlines_is_a_problem(pets):
    coco = json.loads((pets / "instances.json").read_text())
    for each in coco["annotations"]:
        del each["segmentation"]
    (pets / "boxes.json").write_text(json.dumps(coco))
    path = str(pets / "boxes.json")
    header = MasksHeaderDataset(path=path, photos=str(pets / "photos")).load()
    with pytest.raises(UserError, match=r"boxes.json: has no outlines to draw masks from"):
        ingest(pets / "photos", (pets / "tags.csv").read_text(), {}, header, masks=path)


def test_frames_of_one_camera_are_divided_and_named(tmp_path):
    for number in range(20):
        scene = noise(0, (320, 240))
        scene.putpixel((number, number), (255, 0, 0))
        scene.save(tmp_path / f"frame_{number:03}.jpg")
    rows = [f"frame_{number:03}.jpg,{'dog' if number % 2 else 'cat'}" for number in range(20)]
    index, _, report = ingest(tmp_path, "file,tags\n" + "\n".join(rows), val_share=0.2)
    val = index.index[index["split"] == "val"]
    assert len(val) == 4
    assert (np.diff([int(name[-3:]) for name in val]) == 1).all()  # neighbours stay together
    warnings = "\n".join(report["warnings"])
    assert "20 near-duplicates (frame_000, …) are all the photos of a class" in warnings
    assert "the scores of val flatter" in warnings
    assert report["near_duplicates"]["groups"] == 1


def test_a_camera_for_each_class_is_divided_too():
    tags = np.repeat(np.eye(2, dtype=bool), 10, axis=0)
    groups, divided = divide_groups(tags, np.repeat([0, 1], 10), 0.2)
    assert [len(rows) for rows in divided] == [10, 10]
    val = draw_val(tags, groups, 0.2, 0)
    assert (val[:10].sum(), val[10:].sum()) == (2, 2)
    few = np.array([0, 0, *range(1, 19)])
    assert not divide_groups(tags, few, 0.2)[1]


def test_a_val_that_is_too_small_to_draw_names_its_remedy(tmp_path):
    noise(0).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"raise data_set.val_share, now 0.5 of 1 photos"):
        ingest(tmp_path, "file,tags\na.jpg,dog")


def small_networks():
    """The test environment's values, as run-time parameters."""
    values = yaml.safe_load((PROJECT / "conf/test/parameters.yml").read_text())
    flat = flatten({name: values[name] for name in values if name not in ("scenes", "submission")})
    kept = {name: value for name, value in flat.items() if not name.startswith("search.")}
    trained = ("cam", "affinity_training", "segmentation")
    return kept | {
        **{f"{stage}.training.least_steps": 0 for stage in trained},
        "cam.training.frozen": [],
        "segmentation.training.frozen": [],
        "affinity_training.network.head.channels": [4, 8, 16],
    }


def render_folder(folder):
    """Rendered scenes as a folder, a CSV and masks; two photos show nothing."""
    rows = ["file;tags"]
    for number in range(16):
        scene = render_scene([0, number], long_side=64)
        name = f"{'abc'[number % 3]}/p {number}"
        for kind in ("photos", "masks"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(folder / "photos" / f"{name}.webp")
        Image.fromarray(scene.mask).save(folder / "masks" / f"{name}.png")
        rows.append(f"{name}.webp;{', '.join(scene.tags)}")
    for number in range(2):
        noise(number).save(folder / "photos" / f"nothing {number}.jpg")
        rows.append(f"nothing {number}.jpg;")
    (folder / "photos/broken.jpg").write_bytes(b"")
    (folder / "tags.csv").write_text("\n".join([*rows, "broken.jpg;owl"]))


def given_in(folder, *names):
    """Parameters of a run on the rendered folder."""
    files = {"images": "photos", "tags": "tags.csv", "masks": "masks"}
    return small_networks() | {name: str(folder / files[name]) for name in names}


@pytest.fixture(scope="session")
def without_masks(empty_project, made_once):
    """A project after a run on photos and tags, which lie in `set`; not to be changed."""

    def fill(folder):
        project, scenes = empty_project.copy(folder), folder / "set"
        render_folder(scenes)
        head, *rows = (scenes / "tags.csv").read_text().splitlines()
        split = [f"{row};{'train' if i % 3 else 'val'}" for i, row in enumerate(rows)]
        (scenes / "tags.csv").write_text("\n".join([f"{head};split", *split]))
        given = given_in(scenes, "images", "tags")
        project.run(node_names=all_but_export(), env="tagged", parameters=given)

    return SharedProject(made_once("without_masks", fill))


def test_the_whole_run_without_masks(without_masks):
    catalog = without_masks.catalog(env="tagged")
    index = catalog.load("index")
    assert index["split"].value_counts().sum() == 18
    tagged = index.index[(index["split"] == "train") & (index["tags"] != "")]
    assert catalog.load("revision.labels").keys() == {*tagged}
    assert catalog.load("segmentation.predictions").keys() == {*index.index[index.split == "val"]}
    assert not catalog.load("cam.metrics")
    assert not catalog.load("segmentation.metrics")
    assert 0 < catalog.load("affinity_labels.metrics")["coverage"] <= 1
    heard = dict(without_masks.query("select key, value from metrics"))
    assert 0 <= heard["cam.val_map"] <= 1
    assert not [name for name in heard if "iou" in name]
    artifacts = {path.name for path in (without_masks.folder / "artifacts").rglob("*.*")}
    assert artifacts >= {
        f"ingestion.{name}"
        for name in ("report.json", "class_counts.csv", "co_occurrence.csv", "data_plot.png")
    }


def masks_by_split(folder):
    """Paths of the masks that there are, by the split that their photos have in the table."""
    _, *rows = (folder / "tags.csv").read_text().splitlines()
    split_of = {Path(file).stem: split for file, _, split in (row.split(";") for row in rows)}
    found = {"train": [], "val": []}
    for path in sorted((folder / "masks").rglob("*.png")):
        found[split_of[path.stem]].append(path)
    return found


@pytest.fixture(scope="session")
def half_masked(without_masks, made_once):
    """The same with masks of every other photo, in both splits: scored and reported."""

    def fill(folder):
        project = without_masks.copy(folder)
        for paths in masks_by_split(folder / "set").values():
            for path in paths[1::2]:
                path.unlink()
        given = given_in(folder / "set", "images", "tags", "masks")
        project.run("ingestion", env="tagged", parameters=given)
        reporting = [node.name for node in register_pipelines()["reporting"].nodes]
        project.run(node_names=SCORING + reporting, env="tagged", parameters=given)

    return SharedProject(made_once("half_masked", fill))


SCORING = [*(f"{stage}.score" for stage in SCORED), "tagged_masks.compare"]
SCORES = {"cam.miou", "affinity_labels.accuracy", "segmentation.miou"}


def test_some_masks_are_enough_to_score(half_masked):
    heard = dict(half_masked.query("select key, value from metrics"))
    assert heard.keys() >= SCORES
    report = half_masked.catalog(env="tagged").load("ingestion.report")
    masks = masks_by_split(half_masked.folder / "set")
    assert report["masks"] == {split: len(paths) for split, paths in masks.items()}


@pytest.mark.parametrize(
    ("masked", "scores"),
    [("train", {"cam.miou", "affinity_labels.accuracy"}), ("val", {"segmentation.miou"})],
)
def test_masks_of_one_split_score_what_is_scored_on_it(half_masked, tmp_path, masked, scores):
    project = half_masked.copy(tmp_path / "copy")
    folder = project.folder / "set"
    masks = masks_by_split(folder)
    for path in masks["val" if masked == "train" else "train"]:
        path.unlink()
    given = given_in(folder, "images", "tags", "masks")
    project.run("ingestion", env="tagged", parameters=given)
    project.run(env="tagged", parameters=given, node_names=SCORING)
    run = project.record()["mlflow_run"]
    heard = dict(project.query(f"select key, value from metrics where run_uuid = '{run}'"))
    assert SCORES & heard.keys() == scores
    report = project.catalog(env="tagged").load("ingestion.report")
    assert sum(report["masks"].values()) == len(masks[masked])


def test_another_tag_file_is_another_run(project, tmp_path):
    render_folder(scenes := tmp_path / "set")
    given = given_in(scenes, "images", "tags")
    project.run("ingestion", env="tagged", parameters=given)
    before = project.record()["inputs"]
    (scenes / "tags.csv").write_text((scenes / "tags.csv").read_text().replace("owl", "bird"))
    project.run("ingestion", env="tagged", parameters=given)
    now = project.record()["inputs"]
    assert now["photos"] == before["photos"]
    assert now["tags"] != before["tags"]


def test_folders_masks_and_colours_of_other_programs_are_read(project, tmp_path):
    """CVAT's and Roboflow's folders, affixes, colours, binary masks, photos of 12 bits, RAW."""
    colours = {"dog": (250, 50, 183), "cat": (0, 128, 0)}
    for seed in range(8):
        name = ("dog", "cat")[seed % 2]
        split = "Train" if seed < 6 else "valid"
        photo = tmp_path / f"set/{split}/images/{name}/IMG {seed}.jpg"
        mask = tmp_path / f"set/{split}/masks/IMG {seed}_mask.PNG"
        for path in (photo, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(photo)
        values = np.zeros((48, 64, 3), np.uint8)
        values[10:20, 10:20] = colours[name]
        Image.fromarray(values).save(mask)
    twelve = np.asarray(noise(20).convert("L")).astype(np.uint16) << 4
    Image.fromarray(twelve).save(tmp_path / "set/Train/images/dog/null.png")
    (tmp_path / "set/Train/images/dog/raw.CR2").write_bytes(b"II*\0")
    (tmp_path / "set/Train/images/dog/IMG 0.NEF").write_bytes(b"II*\0")
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (tmp_path / "labelmap.txt").write_text("\n".join(["background:0,0,0::", *lines]))
    given = {
        "images": str(tmp_path / "set"),
        "masks": str(tmp_path / "set"),
        "labelmap": str(tmp_path / "labelmap.txt"),
        **{f"{stage}.training.batch_size": 1 for stage in ("cam", "segmentation")},
        "affinity_training.training.batch_size": 1,
    }
    project.run("ingestion", env="tagged", parameters=given)
    catalog = project.catalog(env="tagged", parameters=given)
    report, index = catalog.load("ingestion.report"), catalog.load("index")
    assert catalog.load("classes") == {"cat": 2, "dog": 1}
    assert report["photos"] == {"train": 7, "val": 2}
    assert report["masks"] == {"train": 6, "val": 2}
    assert report["repaired"] == {"samples of 0 … 4095": 1}
    reason = "cannot be read (.cr2 is not read; convert it to JPEG, PNG or TIFF)"
    assert report["left_out"]["reasons"] == {reason: 1}
    assert "Train/images/dog/null" in index.index
    assert "Train/images/dog/IMG 0" in index.index
    assert not any("differ" in line for line in report["warnings"])


@pytest.mark.parametrize("names", [["dog"], ["dog", "cat"]])
def test_of_binary_masks_255_is_the_only_class(folder, tmp_path, names):
    truth = tmp_path / "masks"
    truth.mkdir()
    for name in ("rex", "tom"):
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20] = 255
        Image.fromarray(mask).save(truth / f"mask_{name}.png")
    masks = MasksDataset(path=str(truth), photos=str(folder)).load()
    rows = zip(("rex.jpg", "tom.png"), names + names, strict=False)
    text = "file,tags,split\n" + "".join(f"{file},{name},train\n" for file, name in rows)
    text += "beach/both.webp,,val\n"
    if len(names) > 1:
        with pytest.raises(UserError, match=r"values 0 and 255 only, but there are 2 classes"):
            ingest(folder, text, masks)
        return
    *_, report = ingest(folder, text, masks)
    assert "the masks have the values 0 and 255 only: 255 is dog" in report["warnings"]


def test_a_file_that_is_there_is_not_said_to_be_missing(folder):
    (folder / "notes.svg").write_text("")
    (folder / "raw.CR2").write_bytes(b"")
    tagged = read(folder, "file,tags\nrex.jpg,dog\nnotes.svg,dog\ngone.jpg,dog\nraw.CR2,cat")
    assert tagged.problems == ["tags.csv, line 4: there is no photo 'gone.jpg'"]
    assert "1 files whose suffix is no photo's are left out: notes.svg" in tagged.warnings
    assert "raw" in tagged.photos.index
