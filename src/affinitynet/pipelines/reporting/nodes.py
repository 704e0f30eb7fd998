"""Nodes of the `reporting` pipeline."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from affinitynet.core.label_maps import IGNORE_INDEX, decode, voc_palette
from affinitynet.pipelines.images import Readers, read_photo, resize_labels, upsample

STAGES = ("CAM", "random walk", "pseudo labels", "segmentation (val)")


def tabulate(
    cam: dict[str, Any],
    labels: dict[str, Any],
    revision: dict[str, Any],
    segmentation: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the stages' scores side by side.

    Args:
        cam: `cam.metrics`.
        labels: `affinity_labels.metrics`.
        revision: `revision.metrics`.
        segmentation: `segmentation.metrics`.

    Returns:
        The scores: `stage`, `images`, `score`, `value`. And the IoU by class: `class`, and a
        column for each stage that has one.
    """
    rows = [
        ("cam", "train", "mIoU", cam.get("miou")),
        ("affinity_labels", "train", "coverage", labels["coverage"]),
        ("affinity_labels", "train", "accuracy", labels.get("accuracy")),
        ("revision", "train", "random walk mIoU", revision.get("random_walk_miou")),
        ("revision", "train", "pseudo label mIoU", revision.get("pseudo_label_miou")),
        ("segmentation", "val", "mIoU", segmentation.get("miou")),
    ]
    stages = pd.DataFrame(rows, columns=["stage", "images", "score", "value"]).dropna()
    scored = {"cam": cam, "revision": revision, "segmentation": segmentation}
    iou = pd.DataFrame({name: pd.Series(s.get("iou"), dtype=float) for name, s in scored.items()})
    return stages, iou.rename_axis("class").reset_index()


def plot_stages(stages: pd.DataFrame, iou: pd.DataFrame) -> Figure:
    """Plot mIoU stage by stage, with the classes' IoU behind it.

    Args:
        stages: From `tabulate`.
        iou: From `tabulate`.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    values = stages[stages["score"].str.endswith("mIoU")]["value"].to_numpy()
    if not len(values):
        axes.set_title("no masks, no mIoU")
        return figure
    bars = axes.bar(STAGES, values, color=["#9db8d3", "#5b8db8", "#2f6690", "#16425b"], width=0.6)
    axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=3)
    for column, position in (("cam", 0), ("revision", 2), ("segmentation", 3)):
        scores = iou[column].dropna()
        axes.scatter([position + 0.24] * len(scores), scores, s=14, color="#d1495b", zorder=3)
    axes.set_ylim(0, 1)
    axes.set_ylabel("mIoU (dots: IoU by class)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def show_training_images(
    index: pd.DataFrame,
    photos: Readers,
    masks: Readers,
    cams: Readers,
    labels: Readers,
    walked: Readers,
    pseudo: Readers,
    classes: dict[str, int],
    gallery: dict[str, Any],
) -> Figure:
    """Show what each stage makes of some training photos, side by side.

    Args:
        index: The images of the data set.
        photos: Image id to a function that reads the photo.
        masks: Likewise, the mask.
        cams: Likewise, the CAMs.
        labels: Likewise, the confident labels.
        walked: Likewise, the revised maps.
        pseudo: Likewise, the pseudo labels.
        classes: Class name to mask value.
        gallery: `images`, how many; `long_side` in pixels.
    """
    titles = ["photo", "CAM", "confident labels", "random walk", "pseudo labels", "truth"]
    rows = []
    for image_id in _pick(index, "train", [*pseudo], gallery["images"]):
        photo = read_photo(photos[image_id], gallery["long_side"])
        size = photo.shape[:2]
        stored, revised = cams[image_id](), walked[image_id]()
        values = np.array([0, *classes.values()], np.uint8)
        best = upsample(revised["maps"], size).argmax(axis=0)
        truth = masks[image_id]() if image_id in masks else np.zeros(size, np.uint8)
        rows.append(
            [
                photo,
                _heat(photo, upsample(stored["maps"], size), values[stored["labels"]]),
                _colour(resize_labels(labels[image_id](), size)),
                _colour(values[revised["labels"][best]]),
                _colour(resize_labels(pseudo[image_id](), size)),
                _colour(resize_labels(truth, size)),
            ]
        )
    return _sheet(titles, rows)


def show_predictions(
    index: pd.DataFrame,
    photos: Readers,
    masks: Readers,
    predictions: Readers,
    classes: dict[str, int],
    gallery: dict[str, Any],
) -> Figure:
    """Show the segmentation network's masks of some val photos.

    Args:
        index: The images of the data set.
        photos: Image id to a function that reads the photo.
        masks: Likewise, the mask.
        predictions: Likewise, the predicted mask.
        classes: Class name to mask value.
        gallery: `images`, how many; `long_side` in pixels.
    """
    values = list(classes.values())
    rows = []
    for image_id in _pick(index, "val", [*predictions], gallery["images"]):
        photo = read_photo(photos[image_id], gallery["long_side"])
        size = photo.shape[:2]
        predicted = resize_labels(predictions[image_id](), size)
        stored = masks[image_id]() if image_id in masks else np.zeros(size, np.uint8)
        truth = resize_labels(stored, size)
        known = np.where(decode(truth, values) == IGNORE_INDEX, IGNORE_INDEX, truth)
        rows.append([photo, _colour(predicted, photo), _colour(predicted), _colour(known)])
    return _sheet(["photo", "overlay", "prediction", "truth"], rows)


def _pick(index: pd.DataFrame, split: str, available: list[str], count: int) -> list[str]:
    """Pick images evenly from a split, those with several classes first."""
    candidates = index[(index["split"] == split) & index.index.isin(available)]
    classes = candidates["tags"].str.count(r"\|") + 1
    ordered = candidates.assign(several=classes > 1).sort_values(
        "several", ascending=False, kind="stable"
    )
    half = ordered.head(count // 2)
    rest = candidates.drop(half.index)
    step = max(1, len(rest) // max(1, count - len(half)))
    return [*half.index, *rest.index[::step][: count - len(half)]]


def _colour(
    mask: npt.NDArray[np.uint8], photo: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Paint a mask in VOC's colours, neutral pixels light grey; over a photo, half through."""
    palette = voc_palette()
    palette[IGNORE_INDEX] = (224, 224, 224)
    painted = palette[mask]
    if photo is None:
        return painted
    blended = photo.astype(np.uint16) + painted
    return np.asarray(np.where((mask > 0)[..., None], blended // 2, photo), np.uint8)


def _heat(
    photo: npt.NDArray[np.uint8], cams: npt.NDArray[np.float32], values: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Paint each class's CAM in its colour over a grey photo."""
    grey = photo.mean(axis=2, keepdims=True) * 0.6
    strongest = cams.argmax(axis=0)
    weight = cams.max(axis=0)[..., None]
    colour = voc_palette()[values[strongest]]
    blended = grey * (1 - weight) + np.maximum(colour, 40) * 1.4 * weight
    return np.asarray(blended.clip(0, 255), np.uint8)


def _sheet(titles: list[str], rows: list[list[npt.NDArray[np.uint8]]]) -> Figure:
    ratios = [row[0].shape[0] / row[0].shape[1] for row in rows] or [1.0]
    figure = Figure(figsize=(1.9 * len(titles), 1.9 * sum(ratios) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore
    axes = figure.subplots(
        len(ratios), len(titles), squeeze=False, gridspec_kw={"height_ratios": ratios}
    )
    for cell in axes.flat:
        cell.axis("off")
    for line, row in zip(axes, rows, strict=False):
        for cell, picture in zip(line, row, strict=True):
            cell.imshow(picture, interpolation="nearest")
    for cell, title in zip(axes[0], titles, strict=True):
        cell.set_title(title, fontsize=10)
    return figure


def plot_training(
    cam: pd.DataFrame, affinity_training: pd.DataFrame, segmentation: pd.DataFrame
) -> Figure:
    """Plot the loss of the three trained networks, epoch by epoch.

    Args:
        cam: `cam.history`.
        affinity_training: `affinity_training.history`.
        segmentation: `segmentation.history`.
    """
    histories = {"cam": cam, "affinity_training": affinity_training, "segmentation": segmentation}
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    for axes, (stage, history) in zip(figure.subplots(1, 3), histories.items(), strict=True):
        axes.plot(history["epoch"], history["loss"], marker="o", markersize=3, color="#2f6690")
        axes.set(title=stage, xlabel="epoch", ylabel="loss")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
