"""Nodes of the `reporting` pipeline: tables and sheets of examples."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels, to_pixels, upsample
from affinitynet.core.label_maps import IGNORE_INDEX, LabelMap, decode, encode
from affinitynet.data.files import Partitions
from affinitynet.pipelines.parameters import Sheet
from affinitynet.pipelines.reporting.pictures import blend, paint_heat, paint_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # Matplotlib takes a second to import; Kedro evaluates the annotations of nodes


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
        ("affinity_labels", "train", "coverage", labels.get("coverage")),
        ("affinity_labels", "train", "accuracy", labels.get("accuracy")),
        ("revision", "train", "random walk mIoU", revision.get("random_walk_miou")),
        ("revision", "train", "pseudo label mIoU", revision.get("pseudo_label_miou")),
        ("segmentation", "val", "mIoU", segmentation.get("miou")),
    ]
    stages = pd.DataFrame(rows, columns=["stage", "images", "score", "value"]).dropna()
    scored = {"cam": cam, "revision": revision, "segmentation": segmentation}
    iou = pd.DataFrame({name: pd.Series(s.get("iou"), dtype=float) for name, s in scored.items()})
    return stages, iou.rename_axis("class").reset_index()


def show_training_images(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    masks: Partitions[LabelMap],
    cams: Partitions[ClassMaps],
    labels: Partitions[LabelMap],
    walked: Partitions[ClassMaps],
    pseudo: Partitions[LabelMap],
    classes: dict[str, int],
    sheet: Sheet,
) -> Figure:
    """Show what each stage makes of some training photos, side by side."""
    titles = ["photo", "CAM", "affinity labels", "random walk", "pseudo labels", "ground truth"]
    rows = []
    for image_id in _pick(index, "train", [*pseudo], sheet.images):
        photo = to_pixels(photos[image_id](), sheet.long_side)
        size = photo.shape[:2]
        heat = upsample(cams[image_id]().maps, size).max(axis=0, initial=0)
        revised = encode(walked[image_id]().argmax(size), [*classes.values()])
        truth = masks[image_id]() if image_id in masks else np.zeros(size, np.uint8)
        rows.append(
            [
                photo,
                blend(photo, paint_heat(heat)),
                _paint(resize_labels(labels[image_id](), size)),
                _paint(revised),
                _paint(resize_labels(pseudo[image_id](), size)),
                _paint(resize_labels(truth, size)),
            ]
        )
    return _sheet(titles, rows)


def show_predictions(
    index: pd.DataFrame,
    photos: Partitions[Image.Image],
    masks: Partitions[LabelMap],
    predictions: Partitions[LabelMap],
    classes: dict[str, int],
    sheet: Sheet,
) -> Figure:
    """Show the segmentation network's masks of some val photos."""
    values = list(classes.values())
    rows = []
    for image_id in _pick(index, "val", [*predictions], sheet.images):
        photo = to_pixels(photos[image_id](), sheet.long_side)
        size = photo.shape[:2]
        predicted = resize_labels(predictions[image_id](), size)
        stored = masks[image_id]() if image_id in masks else np.zeros(size, np.uint8)
        truth = resize_labels(stored, size)
        known = np.where(decode(truth, values) == IGNORE_INDEX, IGNORE_INDEX, truth)
        rows.append([photo, _paint(predicted, photo), _paint(predicted), _paint(known)])
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


def _paint(
    mask: npt.NDArray[np.uint8], photo: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Paint a mask; over a photo, half through."""
    painted = np.asarray(paint_labels(mask).convert("RGB"))
    if photo is None:
        return painted
    blended = photo.astype(np.uint16) + painted
    return np.asarray(np.where((mask > 0)[..., None], blended // 2, photo), np.uint8)


def _sheet(titles: list[str], rows: list[list[npt.NDArray[np.uint8]]]) -> Figure:
    from matplotlib.figure import Figure

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
