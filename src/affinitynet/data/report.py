"""Report on a data set before any training: numbers, warnings, and a figure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from affinitynet.core.label_maps import Classes
from affinitynet.data.checks import BLANK, SEPARATOR
from affinitynet.data.tagged import SPLITS, TAG_SEPARATOR
from affinitynet.deferred import pandas as pd
from affinitynet.errors import name_some

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # Matplotlib takes a second to import; Kedro evaluates the annotations of nodes

FEW_PHOTOS = 20
"""Training photos of a class below which a classifier hardly learns it."""
MAX_LISTED = 100
"""Files or groups that the report names; it counts all of them."""


def one_hot(photos: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Spread `tags` into a boolean column for each class, in their order."""
    flags = photos["tags"].str.get_dummies(TAG_SEPARATOR)
    return flags.reindex(columns=list(classes), fill_value=0).astype(bool)


def count_classes(photos: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Count the photos of each class in each split: `class`, `train`, `val`, and `untagged`."""
    flags = one_hot(photos, classes)
    flags["(no tag)"] = ~flags.any(axis="columns")
    counts = flags.groupby(photos["split"]).sum().reindex(list(SPLITS), fill_value=0)
    return counts.T.astype(int).rename_axis(index="class", columns=None).reset_index()


def count_together(photos: pd.DataFrame, classes: Collection[str]) -> pd.DataFrame:
    """Count the photos that show two classes: `class`, and a column for each class."""
    flags = one_hot(photos, classes).astype(int)
    return (flags.T @ flags).rename_axis(index="class", columns=None).reset_index()


def summarise_photos(
    inspected: pd.DataFrame, classes: Collection[str], masked: Collection[str]
) -> dict[str, Any]:
    """Count photos, masks, sizes, near-duplicates and what had to be left out.

    Args:
        inspected: One row a photo, see `affinitynet.pipelines.ingestion.nodes.inspect_photos`.
        masked: Ids of the photos that have a mask.
    """
    left_out = inspected.loc[inspected["problem"] != "", "problem"]
    sound = inspected[inspected["problem"] == ""]
    splits = {split: sound.index[sound["split"] == split] for split in SPLITS}
    sizes = sound[["width", "height"]].astype(int).quantile([0, 0.5, 1], interpolation="nearest")
    sizes.index = pd.Index(["smallest", "median", "largest"])
    alike = _near_duplicates(sound)
    listed = [ids[:MAX_LISTED] for ids in alike[:MAX_LISTED]]
    return {
        "photos": {split: len(ids) for split, ids in splits.items()},
        "masks": {split: int(ids.isin(masked).sum()) for split, ids in splits.items()},
        "classes": len(classes),
        "without_tags": int((sound["tags"] == "").sum()),
        "sizes": sizes.astype(int).to_dict() if len(sound) else {},
        "left_out": {
            "photos": len(left_out),
            "reasons": _count(left_out),
            "why": left_out.head(MAX_LISTED).to_dict(),
        },
        "repaired": count_repairs(sound),
        "near_duplicates": {"groups": len(alike), "photos": listed},
    }


def count_repairs(photos: pd.DataFrame) -> dict[str, int]:
    """Count the photos that had to be repaired, or are odd, by what was done to read them."""
    return _count(photos.loc[photos["repairs"] != "", "repairs"].str.split(SEPARATOR).explode())


def _count(values: pd.Series) -> dict[str, int]:
    return {str(value): int(uses) for value, uses in values.value_counts().items()}


def list_warnings(
    inspected: pd.DataFrame, classes: Classes, masked: Collection[str]
) -> Iterator[str]:
    """List what may spoil the training or its scores, one line each; see `summarise_photos`."""
    left_out = inspected.loc[inspected["problem"] != "", "problem"]
    if len(left_out):
        listed = name_some([f"{image_id} {problem}" for image_id, problem in left_out.items()])
        yield f"{len(left_out)} photos are left out: {listed}"
    sound = inspected[inspected["problem"] == ""]
    blank = sound.index[sound["repairs"].str.contains(BLANK)]
    if len(blank):
        yield f"{len(blank)} photos are {BLANK} and show nothing: {name_some([*map(str, blank)])}"
    if repaired := {k: uses for k, uses in count_repairs(sound).items() if k != BLANK}:
        listed = ", ".join(f"{repair} ({uses})" for repair, uses in repaired.items())
        yield f"photos that are not read as they are stored: {listed}"
    train = one_hot(sound[sound["split"] == "train"], classes)
    untagged = int((~train.any(axis="columns")).sum())
    if untagged:
        yield (
            f"{untagged} training photos have no tags: the classifier learns from them what no "
            "class looks like, and the later stages leave them out"
        )
    uses = train.sum()
    if few := [f"{name} ({count})" for name, count in uses.items() if count < FEW_PHOTOS]:
        yield f"classes with fewer than {FEW_PHOTOS} training photos: {', '.join(few)}"
    if always := [str(name) for name, count in uses.items() if count == len(train)]:
        yield (
            f"all training photos show {', '.join(always)}: without photos that do not, nothing "
            "tells the classifier what it looks like"
        )
    same: dict[bytes, list[str]] = {}
    for name in train.columns[train.any()]:
        same.setdefault(train[name].to_numpy().tobytes(), []).append(str(name))
    for names in same.values():
        if len(names) > 1:
            yield (
                f"always seen together: {', '.join(names)}. Tags cannot distinguish them; "
                "add photos that show one without the other, or make them one class"
            )
    groups = _near_duplicates(sound)
    if alike := [name_some(ids, " = ") for ids in groups]:
        yield f"{len(alike)} groups of near-duplicates: {name_some(alike)}"
    splits = [{*sound.loc[ids, "split"]} for ids in groups]
    across = [line for line, named in zip(alike, splits, strict=True) if len(named) > 1]
    if across:
        yield (
            f"{len(across)} groups of near-duplicates lie in train and val, so that the scores of "
            f"val flatter: {name_some(across)}"
        )
    if not masked:
        yield "there are no masks: no stage has a mIoU, everything else is computed"


def plot_data(photos: pd.DataFrame, counts: pd.DataFrame, together: pd.DataFrame) -> Figure:
    """Plot what `count_classes` and `count_together` count, and the photos' sizes."""
    from matplotlib.figure import Figure

    names = together["class"].tolist()
    height = max(3.2, 0.24 * len(names) + 1.2)
    figure = Figure(figsize=(13, height), layout="constrained")
    bars, pairs, sizes = figure.subplots(1, 3)

    positions = np.arange(len(counts))
    bars.barh(positions, counts["train"], color="#2f6690", label="train")
    bars.barh(positions, counts["val"], left=counts["train"], color="#9db8d3", label="val")
    bars.set_yticks(positions, counts["class"])
    bars.invert_yaxis()
    bars.set(title="photos of each class", xlabel="photos")
    bars.xaxis.get_major_locator().set_params(integer=True)
    bars.legend(frameon=False)

    table = together[names].to_numpy(float)
    share = table / np.maximum(np.diag(table)[:, None], 1)
    image = pairs.imshow(share, cmap="Blues", vmin=0, vmax=1)
    pairs.set_xticks(range(len(names)), names, rotation=90)
    pairs.set_yticks(range(len(names)), names)
    pairs.set_title("of the photos of a row's class,\nshare that shows the column's too")
    figure.colorbar(image, ax=pairs, shrink=0.8)

    for split, colour in (("train", "#2f6690"), ("val", "#d1495b")):
        part = photos[photos["split"] == split]
        sizes.scatter(part["width"], part["height"], s=8, alpha=0.5, color=colour, label=split)
    sizes.set(title="sizes", xlabel="width in pixels", ylabel="height in pixels")
    sizes.set_xlim(0, photos["width"].max() * 1.1)
    sizes.set_ylim(0, photos["height"].max() * 1.1)
    sizes.legend(frameon=False, loc="lower left")
    for axes in (bars, sizes):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _near_duplicates(photos: pd.DataFrame) -> list[list[str]]:
    alike = photos[photos["group"].duplicated(keep=False)]
    return [[str(i) for i in rows.index] for _, rows in alike.groupby("group")]
