"""The report: scores of each image, plots, and the gallery without a browser."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import decode
from affinitynet.core.metrics import confusion_matrix, mean_iou
from affinitynet.execution import Execution
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.parameters import Count, Gallery
from affinitynet.pipelines.reporting.gallery import (
    Card,
    Layer,
    Panel,
    choose_photos,
    list_warnings,
    make_gallery,
    measure_walk,
    render,
)
from affinitynet.pipelines.reporting.pictures import (
    HATCHES,
    data_uri,
    display_palette,
    name_labels,
    paint_heat,
    paint_labels,
)
from affinitynet.pipelines.reporting.pipeline import OUTPUTS
from affinitynet.pipelines.reporting.plots import (
    plot_confusion,
    plot_coverage,
    plot_thresholds,
    where_scored,
)
from affinitynet.pipelines.scoring import tabulate_confusion

CLASSES = {"cat": 8, "dog": 12}
RUN = RunDescription(version="2026-11-27T10.04.19.000Z", data_set="pets", given={"seed": 3})


def test_each_image_has_its_own_score(finished_run):
    catalog = finished_run.catalog()
    classes, masks = catalog.load("classes"), catalog.load("masks")
    values = [*classes.values()]
    for name, column, labels in (
        ("revision", "pseudo_label", catalog.load("revision.labels")),
        ("segmentation", "segmentation", catalog.load("segmentation.predictions")),
    ):
        scores = catalog.load(f"{name}.image_scores")[column]
        assert {*scores.index} == labels.keys()
        for image_id, score in scores.items():
            truth = decode(masks[image_id](), values)
            found = resize_labels(decode(labels[image_id](), values), truth.shape)
            counts = confusion_matrix(truth, found, num_classes=len(values) + 1)
            assert score == pytest.approx(mean_iou(counts)), image_id


def test_confusion_tables_hold_the_scores(finished_run):
    catalog, metrics = finished_run.catalog(), finished_run.metrics()
    expected = {
        "CAM": metrics["cam"]["miou"],
        "random walk": metrics["revision"]["random_walk_miou"],
        "pseudo labels": metrics["revision"]["pseudo_label_miou"],
        "segmentation": metrics["segmentation"]["miou"],
    }
    for stage in ("cam", "revision", "segmentation"):
        for step, rows in catalog.load(f"{stage}.confusion").groupby("step"):
            counts = rows["pixels"].to_numpy().reshape(5, 5)
            assert mean_iou(counts) == pytest.approx(expected.pop(step))
    assert not expected
    labels = catalog.load("affinity_labels.confusion")
    neutral = labels[labels["prediction"] == "neutral"]["pixels"].sum()
    coverage = 1 - neutral / labels["pixels"].sum()
    assert coverage == pytest.approx(metrics["affinity_labels"]["coverage"])


def confusions(num_classes):
    counts = np.random.default_rng(0).integers(0, 9, (num_classes + 1, num_classes + 2))
    counts[:, -1] = 0
    counts += 90 * np.eye(*counts.shape, dtype=int)
    counts[-1, -3] += 5000
    classes = {f"c{number}": number for number in range(1, num_classes + 1)}
    table = tabulate_confusion({"a step": counts}, classes)
    return [table, table.iloc[:0], table.iloc[:0], table.iloc[:0]]


def test_confusions_of_few_classes_are_shown_in_full():
    figure = plot_confusion(*confusions(3))
    shares = figure.axes[0].images[0].get_array()
    assert shares.shape == (4, 5)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [each.get_text() for each in figure.axes[0].get_xticklabels()] == [
        *("background", "c1", "c2", "c3", "neutral")
    ]


def test_a_figure_of_254_classes_is_no_larger_than_one_of_30():
    figure = plot_confusion(*confusions(254))
    assert np.prod(figure.get_size_inches() * 150) < 25e6  # pixels as it is saved
    names = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert len(names) == 30
    assert "c254" in names  # the worst
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().sum(axis=1), 1)
    assert figure.get_suptitle() == "the 30 of 255 classes of which most pixels are wrong"


def test_a_threshold_and_its_alpha_give_the_same_background(finished_run):
    curve = finished_run.catalog().load("cam.threshold_curve")
    scores = np.linspace(0, 1, 101)[1:]
    for _, row in curve.iterrows():
        by_alpha = (1 - scores) ** row["alpha"] > scores
        apart = np.abs(scores - row["threshold"]) > 1e-6
        np.testing.assert_array_equal(by_alpha[apart], (scores < row["threshold"])[apart])


# ---- the choice of photos ------------------------------------------------------------------

GALLERY = Gallery(
    sample=Count(train=2, val=1),
    worst=Count(train=2, val=1),
    doubtful=1,
    walks=1,
    steps=(0, 4),
    long_side=64,
)


def photos_of(train, val):
    ids = [f"t{i}" for i in range(train)] + [f"v{i}" for i in range(val)]
    splits = ["train"] * train + ["val"] * val
    return pd.DataFrame({"split": splits, "tags": "cat"}, pd.Index(ids, name="id"))


def image_scores(index, *columns, scored=True):
    ids = index.index if scored else index.index[:0]
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.random((len(ids), len(columns))), ids, columns)


def walk_effect(index):
    columns = {"object": "cat", "found": 0.2, "left": 0.1, "kept": np.linspace(1, 0, len(index))}
    return pd.DataFrame(columns, index.index)


def estimates(index):
    return pd.DataFrame({"quality": np.linspace(0.9, 0, len(index))}, index.index)


def doubts(index):
    columns = {"doubt": np.linspace(1, 0, len(index)), "class": "cat", "tagged": True}
    return pd.DataFrame(columns, index.index)


def choose(index, *, scored=True, seed=0, gallery=GALLERY):
    train, val = (index[index["split"] == split] for split in ("train", "val"))
    return choose_photos(
        index,
        pd.concat([estimates(index), estimates(index) + 0.1]),
        doubts(index),
        gallery,
        seed,
        image_scores(train, "cam", scored=scored),
        image_scores(train, "coverage", "accuracy", scored=scored),
        image_scores(train, "random_walk", "pseudo_label", scored=scored),
        image_scores(val, "segmentation", scored=scored),
        walk_effect(train),
    )


def test_the_worst_photos_and_a_sample_of_the_others_are_chosen():
    index = photos_of(9, 5)
    chosen = choose(index)
    assert chosen["why"].tolist() == ["sample"] * 2 + ["worst"] * 2 + ["sample", "worst", "tags"]
    assert chosen.index.is_unique
    others = index.index.difference(chosen.index[:-1], sort=False)
    assert chosen.index[-1] == others[0]
    scores = image_scores(index[index["split"] == "train"], "random_walk", "pseudo_label")
    worst = chosen[(chosen["split"] == "train") & (chosen["why"] == "worst")]
    assert worst.index.tolist() == scores["pseudo_label"].nsmallest(2).index.tolist()


def test_the_choice_is_seeded():
    index = photos_of(50, 5)
    assert choose(index).index.equals(choose(index).index)
    assert not choose(index).index.equals(choose(index, seed=1).index)


def test_without_masks_the_worst_photos_are_those_of_the_lowest_estimated_quality():
    chosen = choose(photos_of(9, 5), scored=False)
    assert chosen["why"].tolist() == ["sample"] * 2 + ["worst"] * 2 + ["sample", "worst", "tags"]
    assert chosen.index[chosen["why"] == "worst"].tolist() == ["t8", "t7", "v4"]


def test_the_sample_shows_as_many_classes_as_it_can():
    index = photos_of(60, 5)
    index.loc[["t3", "t40"], "tags"] = ["dog", "cat|owl"]
    for seed in range(5):
        gallery = replace(GALLERY, sample=Count(train=3, val=1), worst=Count(train=0, val=0))
        tags = choose(index, seed=seed, gallery=gallery)["tags"]
        assert {"dog", "cat|owl"} <= set(tags)


def test_few_photos_are_all_shown():
    assert len(choose(photos_of(3, 1))) == 4


# ---- what the walk spoils ------------------------------------------------------------------


def score_maps(*maps):
    """CAMs of `cat` and `dog`."""
    cams = np.array(maps, np.float16)
    return ClassMaps(np.array([1, 2], np.uint8), cams)


def test_an_object_that_the_walk_wipes_out_is_found_without_masks():
    cat, dog, nothing = (np.zeros((4, 4)) for _ in range(3))
    cat[:2], dog[3] = 1, 0.9
    background = np.full((4, 4), 0.1)
    before = {i: lambda: score_maps(cat, dog) for i in "ab"}
    after = {
        "a": lambda: ClassMaps(np.arange(3, dtype=np.uint8), np.stack([background, cat, dog])),
        "b": lambda: ClassMaps(np.arange(3, dtype=np.uint8), np.stack([background, cat, nothing])),
    }
    index = pd.DataFrame({"split": "train"}, pd.Index([*"abc"], name="id"))
    effect = measure_walk(index, before, after, CLASSES, {"alpha": 4})
    assert effect["kept"].to_dict() == {"a": 1, "b": 0}
    lost = effect.loc["b"]
    assert (lost["object"], lost["found"], lost["left"]) == ("dog", 0.25, 0)
    assert list_warnings(effect.loc["a"]) == []
    assert list_warnings(lost) == [
        "The random walk wipes out dog: 25% of the photo in the CAM, 0.0% after it."
    ]


def test_a_walk_that_spoils_a_good_score_is_reported():
    assert list_warnings({"cam": 0.7, "random_walk": 0.3}) == [
        "The random walk lowers the score from 0.70 to 0.30."
    ]
    assert list_warnings({"cam": 0.3, "random_walk": 0.1, "kept": np.nan, "doubt": np.nan}) == []


def test_a_tag_that_may_be_wrong_is_named():
    doubt = {"doubt": 0.97, "class": "cat", "tagged": True}
    assert list_warnings(doubt) == [
        "By the tags of the other photos, its tag cat may be wrong (97% likely)."
    ]
    assert list_warnings(doubt | {"tagged": False}) == [
        "By the tags of the other photos, it may show a cat, too (97% likely)."
    ]
    assert list_warnings(doubt | {"doubt": 0.8}) == []


# ---- plots without masks -------------------------------------------------------------------


def test_a_plot_that_has_nothing_to_show_is_left_out():
    nothing = pd.DataFrame({"step": [], "truth": [], "prediction": [], "pixels": []})
    pair = {"step": "CAM", "truth": ["a", "b"], "prediction": "a"}
    zeros, counts = (pd.DataFrame(pair | {"pixels": pixels}) for pixels in ([0, 0], [3, 1]))
    draw = where_scored(lambda *tables: "a figure")
    assert [*draw(nothing, zeros)] == []
    assert [*draw(zeros, counts)] == ["a figure"]
    assert [*where_scored(lambda *tables: None)(counts)] == []
    images = pd.DataFrame({"coverage": [], "accuracy": []})
    assert [*where_scored(plot_coverage)(images, zeros, CLASSES)] == []
    curve = pd.DataFrame({"threshold": [0.1], "alpha": [2.0], "miou": [np.nan]})
    assert [*where_scored(plot_thresholds)(curve)] == []


# ---- the walk, step by step ----------------------------------------------------------------


def test_the_slider_has_the_maps_of_the_revision_among_its_own(finished_run):
    catalog = finished_run.catalog()
    revised, walks = catalog.load("revision.maps"), catalog.load("reporting.walks")
    assert len(walks) == 2
    for image_id, load in walks.items():
        walk, expected = load(), revised[image_id]()
        assert walk["steps"].tolist() == [0, 4, 16, 64]
        np.testing.assert_array_equal(walk["labels"], expected.labels)
        np.testing.assert_allclose(walk["maps"][-1], expected.maps, atol=2e-3)


# ---- pictures ------------------------------------------------------------------------------

masks = st.integers(0, 2**32 - 1).map(
    lambda seed: (
        np.random.default_rng(seed)
        .choice([0, 8, 12, 255], (3, 4))
        .astype(np.uint8)
        .repeat(4, axis=0)
        .repeat(4, axis=1)
    )
)


def test_colours_differ_from_black_grey_and_each_other():
    colours = display_palette()[1:41].astype(float)
    shares = colours / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    assert ((linear @ [0.2126, 0.7152, 0.0722] + 0.05) / 0.05).min() >= 3  # WCAG 2.1, 1.4.11
    assert np.ptp(colours, axis=1).min() >= 60  # none is a grey, as neutral pixels are
    apart = np.abs(colours[:, None] - colours).sum(axis=2) + 1e9 * np.eye(len(colours))
    assert apart.min() >= 45


@given(masks)
@settings(max_examples=50, deadline=None)
def test_labels_have_their_colours_inside_and_neutral_pixels_are_hatched(mask):
    painted = np.asarray(paint_labels(mask).convert("RGB"))
    palette = display_palette()
    for y, x in np.ndindex(3, 4):
        y, x = 4 * y + 1, 4 * x + 1  # inside a block, off its outline
        if mask[y, x] == 255:
            assert tuple(painted[y, x]) in HATCHES
        else:
            np.testing.assert_array_equal(painted[y, x], palette[mask[y, x]])


@given(masks)
@settings(max_examples=50, deadline=None)
def test_names_stand_on_their_class(mask):
    for name, x, y in name_labels(mask, CLASSES):
        assert 0.05 < x < 0.95
        if 0.1 < x < 0.9 and 0.06 < y < 0.94:
            assert mask[int(y * mask.shape[0]), int(x * mask.shape[1])] == CLASSES[name]


def test_a_class_without_room_is_not_named():
    mask = np.zeros((100, 100), np.uint8)
    mask[10:12, 10:90] = 8
    assert name_labels(mask, CLASSES) == []


def test_pictures_are_small_files_in_the_page():
    labels = np.zeros((192, 256), np.uint8)
    labels[50:100, 50:100] = 8
    kind, encoded = data_uri(paint_labels(labels)).split(",")
    assert kind == "data:image/png;base64"
    assert len(encoded) < 1000
    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")
    assert image.getpixel((0, 0))[3] == 0  # the photo can be seen through the background
    heat = paint_heat(np.linspace(0, 1, 256 * 192, dtype=np.float32).reshape(192, 256))
    alpha = np.asarray(heat.convert("RGBA"))[..., 3]
    assert alpha[0, 0] < 60
    assert alpha[-1, -1] == 255
    photo = Image.new("RGB", (256, 192))
    assert data_uri(photo).startswith("data:image/webp;base64,")


# ---- the page ------------------------------------------------------------------------------


def test_the_page_holds_everything_itself(finished_run):
    (path,) = finished_run.data.glob("08_reporting/test/gallery/*/index.html")
    assert path.parent.name == finished_run.record()["version"]
    page = path.read_text()
    assert page.count("<article") == 8  # 3 + 2 of train, 1 + 1 of val, 1 with a tag in doubt
    steps = ("CAM", "affinity labels", "random walk", "pseudo labels", "prediction")
    for step in (*steps, "within the tags"):
        assert f"<span>{step}</span>" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "://" not in page
    assert set(re.findall(r"url\((.{15})", page)) == {"data:image/webp"}
    assert "<title>rendered scenes, test, 2" in page


def test_names_are_escaped():
    evil = '<script>alert("1")</script>'
    card = Card(
        id=evil,
        split="train",
        why="sample",
        tags=[evil],
        photo="data:,",
        width=4,
        height=3,
        scores={"cam": 0.5},
        panels=[Panel("CAM", "heat", [Layer("data:,", [])])],
    )
    page = render([card], pd.DataFrame(), {evil: 1}, RunDescription(data_set=evil), shown_step=64)
    assert evil not in page
    assert page.count("<script>") == 1


def test_without_masks_there_are_neither_scores_nor_truth(finished_run):
    catalog = finished_run.catalog()
    sample = catalog.load("reporting.sample")
    steps = ["cam", "coverage", "accuracy", "random_walk", "pseudo_label", "segmentation"]
    sample[steps] = np.nan
    sample["kept"] = 0.5
    outputs = {name: catalog.load(entry) for name, entry in OUTPUTS.items() if name != "masks"}
    page = make_gallery(
        sample,
        pd.DataFrame(),
        RUN,
        catalog.load("classes"),
        catalog.load("revision.chosen"),
        GALLERY,
        Execution(workers=1),
        **outputs,
        walks=catalog.load("reporting.walks"),
    )["index"]
    assert "pseudo labels" in page
    assert "ground truth" not in page
    assert "mIoU" not in page
    assert "mean IoU" not in page
    notes = re.findall(r"<b[^>]*>([^<]+)</b>", page)
    assert notes  # coverage needs no masks
    assert all(note.endswith("%") for note in notes)
    assert "object kept by the walk, worst first" in page
    assert "area of the objects, smallest first" in page


def test_a_run_without_masks_reports_what_it_can(finished_copy):
    for folder in finished_copy.data.glob("01_raw/scenes/*/SegmentationClass"):
        for mask in folder.glob("*.png"):
            mask.unlink()
        (folder.parent / f"{folder.name}.complete.json").write_text('{"items": 0}')
    scoring = [f"{stage}.score" for stage in ("cam", "affinity_labels", "revision", "segmentation")]
    finished_copy.run(node_names=[*scoring, "tagged_masks.compare"])
    finished_copy.run("reporting")
    scores = finished_copy.metrics()
    assert scores.pop("affinity_labels").keys() == {"coverage"}
    assert not any(scores.values())
    catalog = finished_copy.catalog()
    why = catalog.load("reporting.sample")["why"].tolist()
    assert why == ["sample"] * 3 + ["worst"] * 2 + ["sample", "worst", "tags"]
    version = finished_copy.record()["version"]
    drawn = {
        path.parent.name for path in finished_copy.data.glob(f"08_reporting/test/*.png/{version}")
    }
    assert drawn == {"training_plot.png"}
    assert catalog.load("reporting.stages")["score"].tolist() == ["coverage"]
    assert "ground truth" not in catalog.load("reporting.gallery")["index"]()
