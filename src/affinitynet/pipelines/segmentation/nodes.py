"""Nodes of the `segmentation` pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.label_maps import Classes, LabelMap
from affinitynet.data.files import Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks, map_images
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.pipelines.parameters import Segmentation
from affinitynet.pipelines.per_image import NetworkWork, map_on_devices, sizes_of
from affinitynet.pipelines.scoring import (
    Metrics,
    count,
    count_labels,
    summarise,
    tabulate_confusion,
    tabulate_images,
)


def predict_masks(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    classes: Classes,
    segmentation: Segmentation,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Segment the photos of `val`, at their own size.

    Yields:
        Image id to its predicted mask, in mask values.

    Raises:
        UserError: If the checkpoint was trained for other classes.
    """
    check_classes(model, classes)
    val = index[index["split"] == "val"]
    yield from chunks(segment(val, model, photos, segmentation.inference, execution))


def check_classes(model: Checkpoint, classes: Classes) -> None:
    """Check that a checkpoint, which all environments share, is for this one's classes.

    Raises:
        UserError: If it was trained for other classes.
    """
    learned = model.config["classes"]
    if learned != classes:
        raise UserError(
            "The newest checkpoint segmentation.model was trained for other classes "
            f"({', '.join(learned)}) than this environment's ({', '.join(classes)}). Train one "
            "with `kedro run --pipeline segmentation`, or name the version of an older one: "
            "--load-versions segmentation.model:<version>"
        )


def segment(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    inference: SegmentationInference,
    execution: Execution,
    *,
    tagged: Mapping[str, Sequence[int]] | None = None,
    save: Callable[[Any], Any] | None = attrgetter("mask"),
) -> Iterator[tuple[str, Any]]:
    """Segment photos on devices; the dense CRF, if there is one, runs in processes.

    Args:
        index: The images to do, with `width` and `height`.
        execution: Device, and processes for the CRF.
        tagged: Labels of the classes that a photo shows, of the photos whose tags are known.
        save: Maps an `affinitynet.stages.refinement.Segmentation` to what is a node's output and
            saved where it is made. None: it is returned, and not saved.

    Yields:
        Image id and that output; or the `Segmentation`, with confidences in 255ths.
    """
    from affinitynet.stages.refinement import CRFLabeller
    from affinitynet.stages.segmentation import ClassScorer, Known, Segmenter

    outputs = save is not None
    labels = {image_id: (tagged or {}).get(image_id) for image_id in index.index}
    if not inference.crf:
        make = partial(Segmenter, in_255ths=True)
        inputs = {i: Known(size, labels[i]) for i, size in sizes_of(index).items()}
        work = NetworkWork(make, model, inference, execution, "Segmenting photos")
        yield from map_on_devices(work, index, photos, inputs, outputs=outputs, take=save)
        return
    values = [*model.config["classes"].values()]
    scorer = NetworkWork(ClassScorer, model, inference, execution, "Segmenting photos")
    labeller = CRFLabeller(values, inference.crf, inference.long_side, in_255ths=True)
    yield from map_images(
        partial(_refine_one, labeller, save),
        ((i, photos[i], scores) for i, scores in map_on_devices(scorer, index, photos, labels)),
        total=len(index),
        execution=execution,
        skip=True,
        outputs=outputs,
    )


def _refine_one(
    labeller: Callable[..., Any],
    take: Callable[[Any], Any] | None,
    read: Callable[[], Image.Image],
    probabilities: npt.NDArray[np.float32],
) -> Any:
    found = labeller(read(), probabilities)
    return take(found) if take else found


def score_predictions(
    predictions: Partitions[LabelMap],
    masks: Partitions[LabelMap],
    classes: Classes,
    execution: Execution,
) -> tuple[Metrics, pd.DataFrame, pd.DataFrame]:
    """Score the predictions of `val`.

    Returns:
        `miou`, and `iou` by class. The confusion counts, and each image's own mIoU.
    """
    counts, images = count(
        count_labels, predictions, masks, classes, execution, "Scoring predictions"
    )
    return (
        summarise(counts, classes),
        tabulate_confusion({"segmentation": counts}, classes),
        tabulate_images(images, ["segmentation"]),
    )
