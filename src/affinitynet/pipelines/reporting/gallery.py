"""The gallery: one HTML page that shows what each stage did to each photo."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels, to_pixels, upsample
from affinitynet.core.label_maps import IGNORE_INDEX, Classes, LabelMap, decode, encode
from affinitynet.core.metrics import mean_iou
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.execution import Execution
from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.pages import fill_template
from affinitynet.pipelines.parameters import Gallery
from affinitynet.pipelines.per_image import NetworkWork, checked, map_items, per_batch
from affinitynet.pipelines.reporting.pictures import (
    Name,
    class_colours,
    data_uri,
    name_labels,
    name_peaks,
    paint_heat,
    paint_labels,
)
from affinitynet.pipelines.scoring import count_labels, count_maps
from affinitynet.stages.parameters import AutoRandomWalk, RandomWalk

logger = logging.getLogger(__name__)

STEPS = {
    "cam": "CAM",
    "coverage": "labels: coverage",
    "accuracy": "labels: accuracy",
    "kept": "object kept by the walk",
    "random_walk": "random walk",
    "pseudo_label": "pseudo labels",
    "segmentation": "prediction",
    "within": "mask within the tags",
    "quality": "estimated quality",
    "objects": "area of the objects",
}
"""Scores of an image, in the order of the stages, and their names on the page."""

WITHOUT_MASKS = ("coverage", "kept", "quality", "objects")
"""Scores that need no masks."""

LAST = {"train": "pseudo_label", "val": "segmentation"}
"""The score that a split's images are ranked by; without masks, the estimated quality."""

FOUND, LOST = 0.02, 0.1
"""The walk wipes an object out that covered this share of the photo in its CAM, where it keeps at
most this share of it."""
DOUBTFUL = 0.9
"""A tag is named from this probability of its contrary on."""
GOOD, HARMED = 0.5, 0.5
"""The walk harms a photo whose CAM had this score, where it keeps at most this share of it."""


@dataclass(frozen=True)
class Layer:
    """A picture over the photo in a panel.

    Attributes:
        picture: A data URI.
        note: Its score, in words; empty without one.
        t: The walk's steps, where a panel has a layer for each of several.
    """

    picture: str
    names: list[Name]
    note: str = ""
    t: int | None = None


@dataclass(frozen=True)
class Panel:
    """One picture of a card.

    Attributes:
        step: Its title.
        kind: `photo`, `heat` or `labels`.
        layers: None for the photo itself, one, or one for each t of the walk.
    """

    step: str
    kind: str
    layers: list[Layer]


@dataclass(frozen=True)
class Card:
    """One photo and what the stages made of it.

    Attributes:
        why: `sample`, `worst` or `tags`, of which one may be wrong.
        photo: A data URI.
        width: Of the photo as shown, in pixels.
        scores: Step to the image's score; steps without one are left out.
        panels: The pictures, from the photo to the truth.
        warnings: Faults of the stages on this photo, a sentence each.
    """

    id: str
    split: str
    why: str
    tags: list[str]
    photo: str
    width: int
    height: int
    scores: dict[str, float]
    panels: list[Panel]
    warnings: list[str] = field(default_factory=list)


def measure_walk(
    index: pd.DataFrame,
    cams: Partitions[ClassMaps],
    walked: Partitions[ClassMaps],
    classes: Classes,
    chosen: dict[str, float],
) -> pd.DataFrame:
    """Measure how much of each tagged object the random walk keeps. This needs no masks.

    Returns:
        By `id`, of the object that loses the largest share: its `object` name, the shares of the
        photo that it covers before (`found`) and after the walk (`left`), and `kept`, their ratio,
        at most 1. Images in whose CAMs no object covers the share `FOUND` are left out.
    """
    names, rows = [*classes], {}
    for image_id in index.index[index.index.isin(walked.keys() & cams.keys())]:
        before, after = cams[image_id](), walked[image_id]().maps
        scored = before.resize(after.shape[1:]).with_background(chosen["alpha"]).maps
        count = len(scored)
        found, left = (
            np.bincount(scores.argmax(axis=0).ravel(), minlength=count)[1:] / scores[0].size
            for scores in (scored, after)
        )
        kept = np.where(found >= FOUND, np.minimum(left / np.maximum(found, FOUND), 1), np.nan)
        if not np.isnan(kept).all():
            least = int(np.nanargmin(kept))
            name = names[before.labels[least] - 1]
            rows[image_id] = (name, found[least], left[least], kept[least])
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["object", "found", "left", "kept"]
    )
    wiped_out = int((table["kept"].astype(float) <= LOST).sum())
    if wiped_out:
        logger.warning(
            "The random walk wipes out an object in %d of %d training photos. The gallery shows "
            "some of them; revision.random_walk.alpha higher keeps more.",
            wiped_out,
            len(rows),
        )
    return table.rename_axis("id")


def choose_photos(
    index: pd.DataFrame,
    quality: pd.DataFrame,
    suspects: pd.DataFrame,
    gallery: Gallery,
    seed: int,
    *scores: pd.DataFrame,
) -> pd.DataFrame:
    """Choose the photos to show: a random sample, the worst, and those whose tags may be wrong.

    The sample shows as many classes as it can.

    Args:
        quality: `tagged_masks.quality`, one row per object: the worst counts.
        suspects: `tag_check.suspects`.
        gallery: How many photos to choose.
        seed: Of the sample.
        scores: The stages' `image_scores`, and what the walk keeps, from `measure_walk`.

    Returns:
        Their rows of the index, with `why` (`sample`, `worst` or `tags`), the steps' scores, and
        the tag in doubt (`doubt`, `class`, `tagged`).
    """
    worst_object = quality["quality"].groupby(level=0).min()
    doubts = suspects[["doubt", "class", "tagged"]]
    scored = index.join([*scores, worst_object, doubts])
    numbers = [name for name in (*STEPS, "found", "left") if name in scored]
    scored = scored.astype(dict.fromkeys(numbers, float))  # a table without rows has no types
    chosen = []
    for split, step in LAST.items():
        rows = scored[scored["split"] == split]
        ranked = step if rows[step].notna().any() else "quality"
        worst = rows.dropna(subset=ranked).nsmallest(getattr(gallery.worst, split), ranked)
        rest = rows.drop(worst.index).sample(frac=1, random_state=seed)
        sample = rest.loc[_new_classes_first(rest)].head(getattr(gallery.sample, split))
        chosen += [sample.sort_index().assign(why="sample"), worst.assign(why="worst")]
    doubtful = scored.drop(pd.concat(chosen).index).nlargest(gallery.doubtful, "doubt")
    return pd.concat([*chosen, doubtful.assign(why="tags")])


def _new_classes_first(rows: pd.DataFrame) -> list[str]:
    """Order images: first those that show a class that none before them shows."""
    seen: set[str] = set()
    ordered: list[str] = []
    others: list[str] = []
    for image_id, tags in rows["tags"].items():
        new = set(tags.split("|")) - seen - {""}
        (ordered if new else others).append(str(image_id))
        seen |= new
    return ordered + others


def resolve_walk(random_walk: AutoRandomWalk, chosen: dict[str, float]) -> dict[str, Any]:
    """Complete the parameters of the walk by what `revision` chose."""
    return asdict(random_walk.resolve(chosen))


def walk_steps(
    sample: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    walk: dict[str, Any],
    gallery: Gallery,
    execution: Execution,
) -> Iterator[dict[str, dict[str, npt.NDArray[Any]]]]:
    """Walk the CAMs of some photos for several numbers of steps, in one recurrence.

    Yields:
        Image id to `labels` (K + 1,) uint8, `steps` (T,) int64 and `maps` (T, K + 1, h, w) float16.
    """
    from affinitynet.stages.revision import StepwiseWalker

    train = sample[sample["split"] == "train"].head(gallery.walks)
    options = RandomWalk(**walk)
    steps = sorted({*gallery.steps, options.steps})
    make = partial(StepwiseWalker, steps=steps)
    work = NetworkWork(make, model, options, execution, "Random walk, step by step")
    yield from per_batch(work, train, photos, checked(maps, "cam.maps"))


def make_gallery(
    sample: pd.DataFrame,
    stages: pd.DataFrame,
    run: RunDescription,
    classes: Classes,
    chosen: dict[str, float],
    gallery: Gallery,
    execution: Execution,
    **outputs: Partitions[Any],
) -> dict[str, str]:
    """Make the page. Photos are drawn one by one; only the small pictures are kept.

    Args:
        sample: From `choose_photos`.
        stages: See `render`.
        chosen: The walk's parameters, of which `steps` is shown first.
        outputs: The `photos`, and of each image what there is of `cams`, `labels`, `walked`,
            `walks`, `pseudo`, `predictions`, `tagged_masks` and `masks`.

    Returns:
        The page under its name, `index`.
    """
    items = [
        (row["id"], row, {name: of[row["id"]] for name, of in outputs.items() if row["id"] in of})
        for row in sample.reset_index().to_dict("records")
    ]
    do = partial(_draw, classes, gallery.long_side)
    drawn = map_items(do, items, execution, "Drawing the gallery", skip=True)
    cards, shown_step = [card for _, card in drawn], int(chosen["steps"])
    return {"index": render(cards, stages, classes, run, shown_step=shown_step)}


def _draw(
    classes: Classes,
    long_side: int,
    row: dict[str, Any],
    outputs: Mapping[str, Callable[[], Any]],
) -> Card:
    made = {name: read() for name, read in outputs.items()}
    photo = to_pixels(made["photos"], long_side)
    scores = _scores_of(row, made, [*classes.values()])
    return Card(
        id=row["id"],
        split=row["split"],
        why=row["why"],
        tags=row["tags"].split("|") if row["tags"] else [],
        photo=data_uri(Image.fromarray(photo)),
        width=photo.shape[1],
        height=photo.shape[0],
        scores={step: scores[step] for step in STEPS if step in scores},
        panels=_panels(made, scores, classes, photo.shape[:2]),
        warnings=list_warnings(row),
    )


def _scores_of(
    row: Mapping[str, Any], made: Mapping[str, Any], values: list[int]
) -> dict[str, float]:
    scores = {step: float(row[step]) for step in STEPS if pd.notna(row.get(step))}
    if "labels" in made:
        scores.setdefault("coverage", float((made["labels"] != IGNORE_INDEX).mean()))
    if "tagged_masks" in made and "masks" in made:
        truth = decode(made["masks"], values)
        scores["within"] = float(mean_iou(count_labels(made["tagged_masks"], truth, values)))
    for last in ("pseudo", "predictions"):
        if last in made:
            shown = (made[last] > 0) & (made[last] != IGNORE_INDEX)
            scores["objects"] = float(shown.mean())
    return scores


def _panels(
    made: Mapping[str, Any],
    scores: Mapping[str, float],
    classes: Classes,
    size: tuple[int, int],
) -> list[Panel]:
    """Draw a photo's outputs in the order of the stages."""
    panels = [Panel("photo", "photo", [])]

    def add(step: str, mask: LabelMap | None, score: str = "") -> None:
        if mask is not None:
            layer = _label_layer(resize_labels(mask, size), classes, _note(scores, score))
            panels.append(Panel(step, "labels", [layer]))

    names, values, truth = [*classes], [*classes.values()], made.get("masks")
    if "cams" in made:
        maps = upsample(made["cams"].maps, size)
        peaks = name_peaks(maps, [names[label - 1] for label in made["cams"].labels])
        heat = data_uri(paint_heat(maps.max(axis=0, initial=0)))
        panels.append(Panel("CAM", "heat", [Layer(heat, peaks, _note(scores, "cam"))]))
    add("affinity labels", made.get("labels"), "accuracy" if "accuracy" in scores else "coverage")
    labels = None if truth is None else decode(truth, values)
    if "walks" in made:
        panels += _walk_panels(made["walks"], size, classes, labels)
    elif "walked" in made:
        add("random walk", encode(made["walked"].argmax(size), values), "random_walk")
    add("pseudo labels", made.get("pseudo"), "pseudo_label")
    add("prediction", made.get("predictions"), "segmentation")
    add("within the tags", made.get("tagged_masks"), "within")
    if truth is not None:
        void = np.uint8(IGNORE_INDEX)
        add("ground truth", np.where(labels == IGNORE_INDEX, void, truth))
    return panels


def list_warnings(row: Mapping[str, Any]) -> list[str]:
    """Say which tag may be wrong, and where the walk harmed a photo that its CAM found well.

    Args:
        row: Of the chosen photos.
    """
    warnings = []
    if row.get("doubt", 0) >= DOUBTFUL:
        means = "its tag {} may be wrong" if row["tagged"] else "it may show a {}, too"
        warnings.append(
            f"By the tags of the other photos, {means.format(row['class'])} "
            f"({row['doubt']:.0%} likely)."
        )
    if row.get("kept", 1) <= LOST:
        warnings.append(
            f"The random walk wipes out {row['object']}: {row['found']:.0%} of the photo in the "
            f"CAM, {row['left']:.1%} after it."
        )
    cam, walk = row.get("cam", np.nan), row.get("random_walk", np.nan)
    if cam >= GOOD and walk <= HARMED * cam:
        warnings.append(f"The random walk lowers the score from {cam:.2f} to {walk:.2f}.")
    return warnings


def _walk_panels(
    stored: Mapping[str, npt.NDArray[Any]],
    size: tuple[int, int],
    classes: Classes,
    truth: LabelMap | None,
) -> list[Panel]:
    """Draw the walk at each t: the strongest object's share against the background, and argmax."""
    values = list(classes.values())
    heats, masks = [], []
    for t, maps in zip(stored["steps"].tolist(), stored["maps"], strict=True):
        walked = ClassMaps(stored["labels"], maps)
        scores = upsample(maps, size)
        objects = scores[1:].max(axis=0, initial=0)
        share = paint_heat(objects / np.maximum(objects + scores[0], 1e-6))
        heats.append(Layer(data_uri(share), [], t=t))
        note = ""
        if truth is not None:
            note = f"{mean_iou(count_maps(walked, truth, values)):.2f}"
        best = encode(walked.name(scores.argmax(axis=0)), values)
        masks.append(_label_layer(best, classes, note, t))
    return [
        Panel("walk’s scores", "heat", heats),
        Panel("random walk", "labels", masks),
    ]


def _label_layer(mask: LabelMap, classes: Classes, note: str, t: int | None = None) -> Layer:
    return Layer(data_uri(paint_labels(mask)), name_labels(mask, classes), note, t)


def _note(scores: Mapping[str, float], step: str) -> str:
    if step not in scores:
        return ""
    if step == "coverage":
        return f"{scores['coverage']:.0%}"
    if step == "accuracy":
        return f"{scores['coverage']:.0%} · {scores['accuracy']:.2f}"
    return f"{scores[step]:.2f}"


def render(
    cards: list[Card],
    stages: pd.DataFrame,
    classes: Classes,
    run: RunDescription,
    *,
    shown_step: int,
) -> str:
    """Lay the cards out as a page that needs nothing but itself.

    Args:
        stages: The stages' scores: `stage`, `images`, `score`, `value`; without rows if there are
            none.
        shown_step: The t of the walk that is shown first.

    Returns:
        HTML.
    """
    shown = {step for card in cards for step in card.scores}
    drawn = Counter(tag for card in cards for tag in card.tags)
    return fill_template(
        "gallery.html",
        cards=cards,
        stages=stages.to_dict("records"),
        colours=class_colours(classes),
        drawn={name: drawn[name] for name in classes if drawn[name]},
        run=run,
        scores={step: name for step, name in STEPS.items() if step in shown},
        scored=bool(shown - {*WITHOUT_MASKS}),
        last=LAST,
        shown_step=shown_step,
    )
