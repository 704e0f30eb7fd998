"""Nodes of the `tagged_masks` pipeline, and the one that `self_training` begins with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_labels
from affinitynet.core.label_maps import Classes, LabelMap, decode, encode
from affinitynet.data.corrections import (
    Corrected,
    corrected_labels,
    corrected_photos,
    without_corrected,
)
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import name_some
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.cam.nodes import tag_labels
from affinitynet.pipelines.parameters import MaskSource, Revision, Segmentation, SelfTraining
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    map_items,
    per_batch,
    per_image,
    sizes_of,
    tagged_photos,
)
from affinitynet.pipelines.revision.nodes import with_chosen
from affinitynet.pipelines.scoring import (
    Metrics,
    count,
    count_labels,
    summarise,
    tabulate_confusion,
    tabulate_images,
)
from affinitynet.pipelines.search.settings import Setting
from affinitynet.pipelines.segmentation.nodes import check_classes

logger = logging.getLogger(__name__)

SOURCES = {"network": "network within the tags", "pseudo_labels": "pseudo labels"}
"""Where a mask may come from; the first one where there are no masks to compare them on."""

CELL = 4
"""Pixels a cell of the network's scores at which masks are compared: finer changes nothing."""

FEW_CELLS = 32
"""Cells that an object should cover: at 256 pixels half of COCO's indoor classes do not."""


def score_within_tags(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    segmentation: Segmentation,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Compute the network's probabilities of background and tagged classes, of all photos.

    Yields:
        Image id to the probabilities of a cell; they sum to one.
    """
    from affinitynet.stages.segmentation import TagScorer

    check_classes(model, classes)
    work = NetworkWork(
        TagScorer, model, segmentation.inference, execution, "Segmenting within the tags"
    )
    yield from per_batch(work, index, photos, tag_labels(index, [*classes]))


def label_tagged(
    index: pd.DataFrame,
    classes: Classes,
    revision: Revision,
    chosen: Setting,
    execution: Execution,
    *inputs: Partitions[Any],
) -> Iterator[dict[str, LabelMap]]:
    """Label all photos within their tags: by the network, with the random walk where there is one.

    Args:
        chosen: Values of the dense CRF, of `revision.choose_crf`.
        inputs: The photos, what `score_within_tags` makes of them, and the random walk's scores.
    """
    from affinitynet.stages.refinement import TaggedLabeller

    labeller = TaggedLabeller([*classes.values()], with_chosen(revision, chosen))
    yield from _label_by_witnesses(labeller, index.index, execution, *inputs)


def relabel(
    index: pd.DataFrame,
    classes: Classes,
    revision: Revision,
    chosen: Setting,
    self_training: SelfTraining,
    execution: Execution,
    *inputs: Partitions[Any],
) -> Iterator[dict[str, LabelMap]]:
    """Label the training photos in the same way; uncertain pixels are neutral."""
    from affinitynet.stages.refinement import TaggedLabeller

    options = with_chosen(revision, chosen)
    labeller = TaggedLabeller([*classes.values()], options, self_training.certainty)
    yield from _label_by_witnesses(labeller, tagged_photos(index).index, execution, *inputs)


def _label_by_witnesses(
    labeller: Callable[..., LabelMap],
    ids: pd.Index,
    execution: Execution,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    walked: Partitions[ClassMaps],
) -> Iterator[dict[str, LabelMap]]:
    """Label photos by the network's scores, and the random walk's where there are any."""
    both = [photos, checked(maps, "tagged_masks.maps"), checked(walked, "revision.maps")]
    has_walk = ids.isin([*walked])
    name = "Labelling within the tags"
    yield from per_image(labeller, ids[has_walk], both, execution, name)
    yield from per_image(labeller, ids[~has_walk], both[:2], execution, name)


def compare_sources(
    index: pd.DataFrame,
    labels: Partitions[LabelMap],
    pseudo_labels: Partitions[LabelMap],
    masks: Partitions[LabelMap],
    corrected: Corrected,
    classes: Classes,
    execution: Execution,
) -> tuple[Metrics, pd.DataFrame, pd.DataFrame]:
    """Score the sources of masks on the training photos that have pseudo labels and a mask.

    Photos with a corrected mask are left out.

    Returns:
        `network_miou` and `pseudo_labels_miou`, none of them without masks. The confusion counts
        of both, and each image's own mIoU.
    """
    both = labels.keys() & pseudo_labels.keys()
    masks = without_corrected(masks, corrected, index)
    sources = {"network": labels, "pseudo_labels": pseudo_labels}
    counted = {
        source: count(
            count_labels,
            {i: each[i] for i in each if i in both},
            masks,
            classes,
            execution,
            f"Scoring the {SOURCES[source]}",
        )
        for source, each in sources.items()
    }
    scores = {source: summarise(total, classes) for source, (total, _) in counted.items()}
    of_network, of_pseudo = (images for _, images in counted.values())
    images = {i: (score, of_pseudo[i]) for i, score in of_network.items()}
    return (
        {f"{source}_miou": each["miou"] for source, each in scores.items() if each},
        tabulate_confusion({SOURCES[name]: total for name, (total, _) in counted.items()}, classes),
        tabulate_images(images, [*sources]),
    )


def choose_source(metrics: dict[str, float], source: MaskSource) -> str:
    """Choose where the masks of photos that have pseudo labels come from, if it is not given.

    Returns:
        The name of the source, of `SOURCES`, that scores best.
    """
    best = max(SOURCES, key=lambda name: metrics.get(f"{name}_miou", 0.0))
    chosen = best if source == "auto" else source
    logger.info("Masks of the training photos: %s", SOURCES[chosen])
    return chosen


def draw_masks(
    index: pd.DataFrame,
    labels: Partitions[LabelMap],
    pseudo_labels: Partitions[LabelMap],
    corrected: Corrected,
    classes: Classes,
    source: str,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Draw the mask of every photo at its own size, from its label by the source.

    Corrected masks of training photos stay as they are.
    """
    best = {**labels} | ({**pseudo_labels} if source == "pseudo_labels" else {})
    best |= corrected_labels(corrected, index, classes)
    items = [(i, size, best[i]) for i, size in sizes_of(index).items() if i in labels]
    do = partial(_draw_one, [*classes.values()])
    drawn = map_items(do, items, execution, "Drawing the masks", skip=True, outputs=True)
    yield from chunks(drawn)


def _draw_one(values: list[int], size: tuple[int, int], read: Callable[[], LabelMap]) -> LabelMap:
    """Draw a mask; the edges of enlarged labels are smooth."""
    import torch

    from affinitynet.core.images import upsampled_argmax

    labels = decode(read(), values)
    shown = np.unique(labels)
    scores = torch.from_numpy((labels == shown[:, None, None]).astype(np.float32))
    best, _ = upsampled_argmax(scores, size, in_255ths=True)
    return encode(shown[best], values)


def estimate_quality(
    index: pd.DataFrame,
    predictions: Partitions[LabelMap],
    maps: Partitions[ClassMaps],
    walked: Partitions[ClassMaps],
    corrected: Corrected,
    classes: Classes,
    execution: Execution,
) -> pd.DataFrame:
    """Estimate how good the mask of each object is, without any true mask.

    Masks that were corrected by hand are left out.

    Returns:
        One row an object, by the photo's `id`, photos with the worst object first: `split`,
        `object`; its `share` of the photo; the `cells` of the network's grid that it covers;
        `network` and `walk`, the IoU of its mask that their probabilities let one expect; and
        `quality`, the mean of those that there are.
    """
    names, values = [*classes], [*classes.values()]
    true = corrected_photos(corrected, index)
    shown = index.index[(index["tags"] != "") & ~index.index.isin([*true])]
    items = [
        (i, predictions[i], maps[i], walked.get(i)) for i in shown if i in predictions and i in maps
    ]
    do = partial(_estimate_one, names, values)
    estimated = map_items(do, items, execution, "Estimating the quality", skip=True)
    rows = [(image_id, each) for image_id, objects in estimated for each in objects]
    ids_of = pd.Index([i for i, _ in rows], name="id", dtype=object)
    table = pd.DataFrame([each for _, each in rows], ids_of, ObjectQuality._fields)
    table.insert(0, "split", index.loc[table.index, "split"])
    _warn_of_small(table)
    worst = table.groupby(level=0)["quality"].transform("min")
    return table.iloc[np.lexsort((table["quality"], table.index, worst))]


def _warn_of_small(objects: pd.DataFrame) -> None:
    """Name the classes whose objects are too small for the size that photos are worked on at."""
    found = objects[objects["cells"] > 0]
    cells = found.groupby("object")["cells"].median().sort_values()
    small = cells[cells < FEW_CELLS]
    if not small.empty:
        logger.warning(
            "In most of their photos the masks of these classes cover less than %d cells of the "
            "network's grid: %s. Try a larger working_size.",
            FEW_CELLS,
            name_some([f"{name} ({count:.0f})" for name, count in small.items()]),
        )


class ObjectQuality(NamedTuple):
    """How good the mask of an object is likely to be.

    Attributes:
        object: Name of the class.
        share: Of the photo's pixels, in the mask.
        cells: The same of the cells of the network's grid.
        network: IoU that the network's probabilities let one expect.
        walk: The same by the random walk's; NaN without them.
        quality: Mean of both.
    """

    object: str
    share: float
    cells: float
    network: float
    walk: float
    quality: float


def _estimate_one(
    names: list[str], values: list[int], read: Any, read_maps: Any, read_walked: Any
) -> list[ObjectQuality]:
    stored = read_maps()
    size = (stored.maps.shape[1] * CELL, stored.maps.shape[2] * CELL)
    mask = resize_labels(decode(read(), values), size)
    by_network = expected_iou(mask, stored)
    by_walk = expected_iou(mask, read_walked()) if read_walked else {}
    found = []
    for label in stored.labels[1:].tolist():
        share = float((mask == label).mean())
        expected = by_network[label], by_walk.get(label, np.nan)
        quality = float(np.nanmean(expected))
        cells = share * stored.maps[0].size
        found.append(ObjectQuality(names[label - 1], share, cells, *expected, quality))
    return found


def expected_iou(mask: LabelMap, scores: ClassMaps) -> dict[int, float]:
    """Tell the IoU of each object's region that probabilities let one expect.

    That is the probability inside the region over its area and the probability outside.

    Args:
        mask: (H, W) labels.
        scores: Of the background and the photo's classes.

    Returns:
        Label to a number in [0, 1]; 0 where the mask lacks the object.
    """
    maps = scores.resize((mask.shape[0], mask.shape[1])).maps
    shares = maps / np.maximum(maps.sum(axis=0), np.finfo(np.float32).tiny)
    found = {}
    for label, own in zip(scores.labels.tolist(), shares, strict=True):
        inside = mask == label
        found[label] = float(own[inside].sum() / max(inside.sum() + own[~inside].sum(), 1))
    return found
