"""A data set in VOC's layout, with everything wrong that can be."""

import numpy as np
import pytest
from PIL import Image

from affinitynet.core.label_maps import voc_palette
from affinitynet.errors import UserError
from affinitynet.pipelines.scenes.render import CLASSES, render_scene, voc_annotation

PARAMETERS = {
    "data_set.classes": [*CLASSES],
    "data_set.mask_classes": [*CLASSES],
    "data_set.splits": {"train": "train", "val": "val"},
    "cam.training.batch_size": 1,
    "affinity_training.training.batch_size": 1,
    "segmentation.training.batch_size": 1,
}


@pytest.fixture
def voc(tmp_path):
    """Six sound images: four to train on, two to evaluate."""
    root = tmp_path / "VOC2012"
    folders = ("JPEGImages", "SegmentationClassAug", "Annotations", "ImageSets/Segmentation")
    photos, masks, annotations, lists = (root / name for name in folders)
    for folder in (photos, masks, annotations, lists):
        folder.mkdir(parents=True)
    ids = [f"image_{number}" for number in range(6)]
    for number, image_id in enumerate(ids):
        scene = render_scene([0, number], long_side=48)
        Image.fromarray(scene.image).save(photos / f"{image_id}.jpg")
        Image.fromarray(scene.mask).save(masks / f"{image_id}.png")
        (annotations / f"{image_id}.xml").write_text(voc_annotation(image_id, scene))
    (lists / "train.txt").write_text("\n".join(ids[:4]))
    (lists / "val.txt").write_text("\n".join(ids[4:]) + "\n")
    return root


def ingest(project, root, **parameters):
    given = PARAMETERS | {"voc_root": str(root)} | parameters
    project.run("ingestion", env="voc_cpu", parameters=given)


def test_a_sound_data_set_becomes_an_index(project, voc):
    ingest(project, voc, **{"execution.workers": 2})
    (path,) = project.data.glob("02_intermediate/voc_cpu/index.csv/*/index.csv")
    header, *rows = path.read_text().splitlines()
    assert header == "id,split,width,height,tags"
    assert len(rows) == 6
    scene = render_scene([0, 0], long_side=48)
    height, width = scene.mask.shape
    assert rows[0] == f"image_0,train,{width},{height},{'|'.join(scene.tags)}"


def test_classes_that_are_not_listed_are_left_out(project, voc):
    ingest(project, voc, **{"data_set.classes": ["owl"]})
    (path,) = project.data.glob("02_intermediate/voc_cpu/index.csv/*/index.csv")
    rows = [row.split(",") for row in path.read_text().splitlines()[1:]]
    assert {tags for *_, tags in rows} <= {"", "owl"}
    assert all(tags == "owl" for _, split, *_, tags in rows if split == "train")


def test_classes_that_nothing_shows_are_named(project, voc):
    known = ["car", "fish", "house", "owl", "zebra"]
    with pytest.raises(UserError, match="no photo of the lists has the tag 'zebra'"):
        ingest(project, voc, **{"data_set.classes": ["zebra"], "data_set.mask_classes": known})


def test_all_problems_are_reported_together_and_nothing_is_written(project, voc):
    photos, masks, annotations = (
        voc / name for name in ("JPEGImages", "SegmentationClassAug", "Annotations")
    )
    (photos / "image_0.jpg").unlink()
    (photos / "image_1.jpg").write_bytes(b"no photo")
    Image.new("P", (3, 5)).save(masks / "image_2.png")
    mask = np.asarray(Image.open(masks / "image_1.png")).copy()
    mask[0, 0] = 77
    Image.fromarray(mask).save(masks / "image_1.png")
    (masks / "image_4.png").unlink()
    (annotations / "image_2.xml").write_text("<annotation>")
    (annotations / "image_3.xml").write_text(
        (annotations / "image_3.xml").read_text().replace("<name>", "<name>flying ")
    )
    (annotations / "image_4.xml").unlink()
    size = "<size><width>48</width><height>999</height></size>"
    (annotations / "image_5.xml").write_text(f"<annotation>{size}</annotation>")
    (voc / "ImageSets/Segmentation/val.txt").write_text("image_4\nimage_5\nimage_3\n")
    with pytest.raises(UserError) as error:
        ingest(project, voc)
    message = str(error.value)
    for line in (
        "JPEGImages/image_0.jpg: missing, but named in ImageSets/Segmentation/train.txt",
        "image_1: cannot be read",
        "image_2: the mask is 3 x 5, the photo ",
        "image_1: mask values [77] are no class",
        "image_4: the mask is missing",
        "Annotations/image_2.xml: is no VOC annotation",
        "Annotations/image_3.xml: the tag 'flying ",
        "Annotations/image_4.xml: missing",
        "Annotations/image_5.xml: has no tags",
        "image_5: its annotation says 48 x 999, the photo is ",
        "ImageSets/Segmentation/val.txt: names image_3 and ImageSets/Segmentation/train.txt too",
    ):
        assert f"\n  {line}" in message, line
    assert not list(project.data.glob("02_intermediate/voc_cpu/index.csv"))
    assert not list(project.data.glob("02_intermediate/voc_cpu/classes.json"))


def test_files_that_are_no_text_or_no_mask_are_named(project, voc):
    (voc / "Annotations/image_0.xml").write_bytes(b"\xff\xfe\xff")
    Image.new("RGB", (48, 48), (1, 2, 3)).save(voc / "SegmentationClassAug/image_1.png")
    (voc / "SegmentationClassAug/image_2.png").write_bytes(b"no mask")
    with pytest.raises(UserError) as error:
        ingest(project, voc)
    for line in (
        "Annotations/image_0.xml: ",
        "image_1: the mask cannot be read (has 1 colours that are not in VOC's palette, as (1, 2",
        "image_2: the mask cannot be read",
    ):
        assert f"\n  {line}" in str(error.value), line


def test_many_problems_are_counted(project, voc):
    ids = "\n".join(f"gone_{number}" for number in range(120))
    (voc / "ImageSets/Segmentation/train.txt").write_text(ids)
    with pytest.raises(UserError) as error:
        ingest(project, voc)
    assert str(error.value).startswith("240 problems with the data set in ")
    assert str(error.value).endswith("… and 140 more")


def test_photos_are_measured_upright_and_lists_may_have_flags_and_blank_lines(project, voc):
    path = voc / "JPEGImages/image_0.jpg"
    photo = Image.open(path)
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    path = voc / "ImageSets/Segmentation/train.txt"
    path.write_text(path.read_text().replace("\n", "  1\r\n\r\n"))
    ingest(project, voc)
    (table,) = project.data.glob("02_intermediate/voc_cpu/index.csv/*/index.csv")
    assert len(table.read_text().splitlines()) == 7


def test_files_of_other_programs_are_read(project, voc):
    """Lists of PowerShell, annotations in GBK, sizes before EXIF turns a photo, colour masks."""
    photos, masks, annotations = (
        voc / name for name in ("JPEGImages", "SegmentationClassAug", "Annotations")
    )
    for folder in (photos, masks, annotations):
        for path in folder.iterdir():
            path.rename(path.with_name(path.name.replace("_", " ")))
    for path in voc.rglob("*.txt"):
        path.write_text(path.read_text().replace("_", " "), "utf-16", newline="\r\n")
    (photos / "image 1.jpg").rename(photos / "image 1.JPEG")
    xml = (annotations / "image 1.xml").read_text()
    path = "<annotation><path>C:\\照片</path>"
    declared = '<?xml version="1.0" encoding="gbk"?>' + xml.replace("<annotation>", path)
    (annotations / "image 1.xml").write_text(declared, "gbk")
    with Image.open(photos / "image 0.jpg") as photo:
        exif = photo.getexif()
        exif[0x0112] = 6
        turned = photo.transpose(Image.Transpose.ROTATE_90)
    turned.save(photos / "image 0.jpg", exif=exif)
    xml = (annotations / "image 0.xml").read_text()
    sides = (f"<width>{turned.height}<", f"<width>{turned.width}.0<")
    xml = xml.replace(*sides).replace(f"<height>{turned.width}<", f"<height>{turned.height}<")
    (annotations / "image 0.xml").write_text(xml)
    (annotations / "image 2.xml").write_text(xml.replace("width", "w").replace("height", "h"))
    mask = np.asarray(Image.open(masks / "image 3.png"))
    Image.fromarray(voc_palette()[mask]).save(masks / "image 3.png")
    ingest(project, voc)
    catalog = project.catalog(env="voc_cpu")
    assert [*catalog.load("index").index] == [f"image {number}" for number in range(6)]
    report = catalog.load("ingestion.report")
    assert report["repaired"] == {"turned as its EXIF says": 1}
    assert sum(report["masks"].values()) == 6


def test_missing_folders_lists_and_classes_are_named(project, tmp_path):
    with pytest.raises(UserError) as error:
        ingest(project, tmp_path / "nowhere", **{"data_set.classes": ["unicorn"]})
    for line in (
        "parameter data_set.classes: 'unicorn' is none of data_set.mask_classes",
        "the masks' folder SegmentationClassAug: missing or empty",
        "JPEGImages: missing or empty",
        "Annotations: missing or empty",
        "ImageSets/Segmentation/train.txt: missing (parameter data_set.splits.train)",
    ):
        assert line in str(error.value)


def test_an_empty_list_is_named(project, voc):
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n")
    with pytest.raises(UserError, match=r"train.txt: empty"):
        ingest(project, voc)


def test_the_archive_as_it_is_published_lacks_train_aug_and_its_masks(project, voc):
    (voc / "SegmentationClassAug").rename(voc / "SegmentationClass")
    official = {
        name: value for name, value in PARAMETERS.items() if not name.startswith("data_set.splits")
    }
    with pytest.raises(UserError) as error:
        project.run("ingestion", env="voc_cpu", parameters=official | {"voc_root": str(voc)})
    for line in (
        "train_aug.txt: missing (parameter data_set.splits.train); there are train, val",
        "the masks' folder SegmentationClassAug: missing or empty; "
        "give --params voc_root=<path>,mask_folder=<name>",
    ):
        assert line in str(error.value)
    chosen = {"data_set.splits.train": "train", "mask_folder": "SegmentationClass"}
    project.run("ingestion", env="voc_cpu", parameters=official | chosen | {"voc_root": str(voc)})
    report = project.catalog(env="voc_cpu").load("ingestion.report")
    assert sum(report["masks"].values()) == 6


def test_batches_that_no_stage_can_fill_are_reported_with_all_else(project, voc):
    (voc / "SegmentationClassAug/image_5.png").unlink()
    with pytest.raises(UserError) as error:
        ingest(
            project,
            voc,
            **{
                "cam.training.batch_size": 5,
                "affinity_training.training.batch_size": 4,
                "segmentation.training.batch_size": 17,
            },
        )
    output = str(error.value)
    assert output.startswith("3 problems")
    assert "image_5: the mask is missing" in output
    assert "cam.training.batch_size is 5, but the stage has only 4 photos to train on" in output
    assert "segmentation.training.batch_size is 17, but the stage has only 4 photos" in output
    with pytest.raises(UserError, match=r"cam\.training\.batch_size is 5"):
        ingest(project, voc, **{"data_set.strict": False, "cam.training.batch_size": 5})
    ingest(
        project,
        voc,
        **{
            "data_set.strict": False,
            "cam.training.batch_size": 5,
            "cam.training.epochs": 0,
        },
    )
