"""Tables and plots of the stages' scores: plots on white, readable in any theme."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affinitynet.core.label_maps import Classes
from affinitynet.deferred import pandas as pd
from affinitynet.pipelines.reporting.pictures import class_colours
from affinitynet.pipelines.scoring import NEUTRAL, Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = Any  # Matplotlib takes a second to import; Kedro evaluates nodes' annotations

logger = logging.getLogger(__name__)

BARS = {
    ("cam", "mIoU"): "CAM",
    ("revision", "random walk mIoU"): "random walk",
    ("revision", "pseudo label mIoU"): "pseudo labels",
    ("segmentation", "mIoU"): "segmentation (val)",
}
"""Stage and score, as `tabulate` names them, to the name of its bar."""
BLUE, PALE, ORANGE = "#2f6690", "#9db8d3", "#d1622b"
MARKERS = "osD^vP*X<>hp"  # beside the colours, for colour-blind readers
MAX_SHOWN = 30
"""Classes that a confusion matrix shows at most: those that are confused most."""
OTHERS = "others"
MAX_NUMBERS = 9
"""Classes, background included, up to which a confusion matrix has its shares written in."""


def tabulate(
    cam: Metrics, labels: Metrics, revision: Metrics, segmentation: Metrics, within: Metrics
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the stages' `metrics` side by side.

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
        ("tagged_masks", "train", "mIoU within the tags", within.get("network_miou")),
    ]
    stages = pd.DataFrame(rows, columns=["stage", "images", "score", "value"]).dropna()
    scored = {"cam": cam, "revision": revision, "segmentation": segmentation}
    iou = pd.DataFrame({name: pd.Series(s.get("iou"), dtype=float) for name, s in scored.items()})
    return stages, iou.rename_axis("class").reset_index()


def where_scored(plot: Callable[..., Figure | None]) -> Callable[..., Iterator[Figure]]:
    """Make a node of a plot that is left out where its tables have nothing to show.

    Without masks they have no rows, or count no pixels. The node then yields nothing.
    """

    @wraps(plot)
    def draw(*inputs: Any) -> Iterator[Figure]:
        shown = any(
            not each.empty and ("pixels" not in each or each["pixels"].any())
            for each in inputs
            if isinstance(each, pd.DataFrame)
        )
        figure = plot(*inputs) if shown else None
        if figure is None:
            logger.info("There are no masks: %s has nothing to show.", plot.__name__)
        else:
            yield figure

    return draw


def plot_stages(stages: pd.DataFrame, iou: pd.DataFrame, classes: Classes) -> Figure | None:
    """Plot mIoU stage by stage, and each class's IoU, from the tables of `tabulate`."""
    values = stages.set_index(["stage", "score"])["value"]
    values = values[[bar in BARS for bar in values.index]]
    if values.empty:
        return None
    figure = new_figure((7.5, 4))
    axes = figure.subplots()
    named = [f"{BARS[bar]}\n{value:.3f}" for bar, value in zip(values.index, values, strict=True)]
    axes.bar(named, values, color=PALE, width=0.6)
    positions = {stage: bar for bar, (stage, _) in enumerate(values.index)}  # of two the last
    for (name, marker), scores in zip(
        _markers(classes).items(), iou[[*positions]].to_numpy(), strict=False
    ):
        axes.plot([*positions.values()], scores, label=name, linewidth=0.8, markersize=6, **marker)
    axes.set(ylim=(0, 1), ylabel="mIoU (marks: IoU by class)")
    _finish(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def plot_training(
    cam: pd.DataFrame, affinity_training: pd.DataFrame, segmentation: pd.DataFrame
) -> Figure:
    """Plot the loss of the three trained networks, epoch by epoch, from their `history`."""
    histories = {"cam": cam, "affinity_training": affinity_training, "segmentation": segmentation}
    figure = new_figure((9, 2.8))
    for axes, (stage, history) in zip(figure.subplots(1, 3), histories.items(), strict=True):
        axes.plot(history["epoch"], history["loss"], marker="o", markersize=3, color=BLUE)
        axes.set(title=stage, xlabel="epoch", ylabel="loss")
        axes.locator_params(axis="x", integer=True)
        _finish(axes)
    return figure


def plot_thresholds(curve: pd.DataFrame) -> Figure | None:
    """Plot the CAMs' mIoU over the background threshold, and over the exponent alpha of eq. 2.

    Both say the same of a CAM's argmax: (1 - M)^alpha exceeds M exactly below one threshold.

    Args:
        curve: `cam.threshold_curve`: `threshold`, `alpha`, `miou`.
    """
    if curve["miou"].isna().all():
        return None
    figure = new_figure((9, 3))
    titles = {"threshold": "background threshold", "alpha": "background exponent α (eq. 2)"}
    for axes, (column, title) in zip(
        figure.subplots(1, 2, sharey=True), titles.items(), strict=True
    ):
        axes.plot(curve[column], curve["miou"], marker="o", markersize=4, color=BLUE)
        axes.set(xlabel=title, ylim=(0, 1))
        for _, best in curve.nlargest(1, "miou").iterrows():
            axes.plot(best[column], best["miou"], marker="o", markersize=9, color=ORANGE)
            axes.annotate(
                f"{best['miou']:.3f} at {best[column]:.2g}",
                (best[column], best["miou"]),
                (0, 8),
                textcoords="offset points",
                ha="center",
                va="bottom",
            )
        _finish(axes)
    figure.axes[0].set_ylabel("mIoU of the CAMs")
    figure.axes[1].set_xscale("log")
    figure.axes[1].xaxis.set_major_formatter("{x:g}")
    return figure


def plot_confusion(
    cam: pd.DataFrame,
    affinity_labels: pd.DataFrame,
    revision: pd.DataFrame,
    segmentation: pd.DataFrame,
) -> Figure:
    """Plot each step's confusion matrix: the share of each true class's pixels.

    Of more than `MAX_SHOWN` classes those are shown of which most pixels are wrong, over all
    steps; the rest is one column. The tables are the stages' `confusion`.
    """
    tables = pd.concat([cam, affinity_labels, revision, segmentation])
    steps = list(dict.fromkeys(tables["step"]))
    names = _choose_classes(tables)
    side = 1.3 + 0.32 * len(names)
    figure = new_figure((3 * side, 2 * side))
    panels = list(figure.subplots(2, 3).flat)
    for axes, step in zip(panels, steps, strict=False):
        rows = tables[(tables["step"] == step) & tables["truth"].isin(names)]
        given = rows["prediction"].where(rows["prediction"].isin([*names, NEUTRAL]), OTHERS)
        columns = [name for name in (*names, NEUTRAL, OTHERS) if name in {*given}]
        counts = rows.assign(prediction=given).pivot_table(
            "pixels", "truth", "prediction", aggfunc="sum", observed=True
        )
        table = counts.reindex(index=names, columns=columns).to_numpy()
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(step, fontsize=11)
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        if len(names) <= MAX_NUMBERS:
            _write_shares(axes, shares)
    for axes in panels[len(steps) :]:
        axes.axis("off")
    figure.supxlabel("label given", fontsize=10)
    figure.supylabel("truth", fontsize=10)
    if len(names) < (count := tables["truth"].nunique()):
        figure.suptitle(f"the {len(names)} of {count} classes of which most pixels are wrong")
    return figure


def plot_coverage(images: pd.DataFrame, confusion: pd.DataFrame, classes: Classes) -> Figure:
    """Plot how many pixels the affinity labels cover against how many of these are right.

    Args:
        images: `affinity_labels.image_scores`: `coverage` and `accuracy` of each image.
        confusion: `affinity_labels.confusion`.
    """
    figure = new_figure((5.5, 4))
    axes = figure.subplots()
    axes.scatter(images["coverage"], images["accuracy"], s=9, color=PALE, label="a photo")
    for name, marker in _markers(classes).items():
        of_class = confusion[confusion["truth"] == name]
        labelled = of_class[of_class["prediction"] != NEUTRAL]
        right = labelled[labelled["prediction"] == name]["pixels"].sum()
        pixels, covered = of_class["pixels"].sum(), labelled["pixels"].sum()
        if covered:
            axes.plot(
                covered / pixels, right / covered, label=name, linestyle="", markersize=8, **marker
            )
    axes.set(xlabel="coverage: share of pixels with a label", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_ylabel("accuracy: share of these that are right")
    _finish(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def new_figure(size: tuple[float, float]) -> Figure:
    """Make an empty figure.

    Args:
        size: Width and height in inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _choose_classes(tables: pd.DataFrame) -> list[str]:
    """Choose the classes that confusion matrices show, in their order."""
    names = [*dict.fromkeys(tables["truth"])]
    wrong = tables[tables["truth"] != tables["prediction"]].groupby("truth")["pixels"].sum()
    chosen = {*wrong.nlargest(MAX_SHOWN).index} if len(names) > MAX_SHOWN else {*names}
    return [name for name in names if name in chosen]


def _markers(classes: Classes) -> dict[str, dict[str, Any]]:
    """Return each class's colour and mark; background is black."""
    return {
        name: {
            "color": colour,
            "marker": MARKERS[i % len(MARKERS)],
            "markeredgecolor": "#333",
            "markeredgewidth": 0.5,
        }
        for i, (name, colour) in enumerate(class_colours(classes).items())
    }


def _write_shares(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            axes.text(
                column,
                row,
                f"{share:.2f}".removeprefix("0"),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > 0.6 else "black",
            )


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
