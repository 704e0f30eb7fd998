"""Nodes of the `revision` pipeline."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from affinitynet.core.dense_crf import CRFParameters, refine, unary_from_labels
from affinitynet.core.label_maps import LabelMap, encode
from affinitynet.execution import Execution, chunks, stream
from affinitynet.pipelines.finite import check_maps, check_outputs
from affinitynet.pipelines.images import (
    Readers,
    network_outputs,
    read_photo,
    share_out,
    tagged_photos,
    upsample,
)
from affinitynet.pipelines.parameters import RandomWalk
from affinitynet.pipelines.scoring import (
    count,
    count_labels,
    count_maps,
    summarise,
    tabulate_confusion,
    tabulate_images,
)


def walk_cams(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    maps: Readers,
    random_walk: RandomWalk,
    execution: Execution,
) -> Iterator[dict[str, dict[str, Any]]]:
    """Spread the CAMs, background included, by the random walk vec M* = T^t vec M.

    Args:
        index: The images of the data set; the tagged ones of `train` that have CAMs are done.
        model: AffinityNet's checkpoint.
        photos: Image id to a function that reads the photo.
        maps: Image id to a function that reads the CAMs.
        random_walk: The walk, and how AffinityNet computes its features.
        execution: Device.

    Yields:
        Image id to `labels` (K + 1,) uint8, background and the tagged classes, and `maps`
        (K + 1, h, w) float16, their revised scores in [0, 1].
    """
    train = tagged_photos(index)
    train = train[train.index.isin([*maps])]
    work = partial(_walk, model=model, random_walk=random_walk, execution=execution)
    yield from chunks(
        share_out(
            work,
            train,
            photos,
            check_maps(maps, "cam.maps"),
            options=random_walk,
            execution=execution,
            description="Random walk",
            outputs=True,
        )
    )


def _walk(
    index: pd.DataFrame,
    photos: Readers,
    maps: Readers,
    *,
    model: dict[str, Any],
    random_walk: RandomWalk,
    execution: Execution,
) -> Iterator[tuple[str, dict[str, Any]]]:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from affinitynet.core.cams import with_background
    from affinitynet.core.random_walk import propagate

    for ids, features in network_outputs(
        index, photos, model=model, inference=random_walk, execution=execution
    ):
        stored = [maps[image_id]() for image_id in ids]
        grid = (features.shape[-2], features.shape[-1])
        cams = [torch.from_numpy(upsample(each["maps"], grid)) for each in stored]
        scores = [with_background(each.to(features.device), random_walk.alpha) for each in cams]
        revised = propagate(
            pad_sequence(scores, batch_first=True),  # with maps of zeros, where tags are fewer
            features,
            radius=random_walk.radius,
            beta=random_walk.beta,
            steps=random_walk.steps,
        )
        check_outputs(ids, revised, model)
        walked = revised.half().cpu().numpy()
        for image_id, each, planes in zip(ids, stored, walked, strict=True):
            labels = np.concatenate([[0], each["labels"]]).astype(np.uint8)
            yield image_id, {"labels": labels, "maps": planes[: len(labels)]}


def make_pseudo_labels(
    index: pd.DataFrame,
    photos: Readers,
    maps: Readers,
    classes: dict[str, int],
    crf: CRFParameters,
    confidence: float,
    long_side: int | None,
    execution: Execution,
) -> Iterator[dict[str, LabelMap]]:
    """Upsample the revised maps and refine their argmax with the dense CRF.

    Args:
        index: The images of the data set; the tagged ones of `train` that have maps are done.
        photos: Image id to a function that reads the photo.
        maps: Image id to a function that reads the revised maps.
        classes: Class name to mask value.
        crf: The dense CRF.
        confidence: Probability that the CRF's unary gives to the walk's label, in (0, 1).
        long_side: Working size in pixels; None for the photo's own size.
        execution: Processes.

    Yields:
        Image id to its pseudo labels, in mask values, at the working size.
    """
    maps = check_maps(maps, "revision.maps")
    ids = [i for i in tagged_photos(index).index if i in maps]
    yield from stream(
        partial(_refine_one, list(classes.values()), crf, confidence, long_side),
        ((i, photos[i], maps[i]) for i in ids),
        total=len(ids),
        execution=execution,
        description="Refining pseudo labels",
        skip=True,
        outputs=True,
    )


def _refine_one(
    values: list[int],
    crf: CRFParameters,
    confidence: float,
    long_side: int | None,
    read: Callable[[], Any],
    read_maps: Callable[[], dict[str, npt.NDArray[Any]]],
) -> LabelMap:
    photo = read_photo(read, long_side)
    stored = read_maps()
    walked = upsample(stored["maps"], photo.shape[:2]).argmax(axis=0)
    unary = unary_from_labels(walked, len(stored["labels"]), confidence=confidence)
    refined = refine(photo, unary, crf).argmax(axis=0)
    return encode(stored["labels"][refined], values)


def score_revision(
    maps: Readers,
    labels: Readers,
    masks: Readers,
    classes: dict[str, int],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Score the walk and the pseudo labels.

    Args:
        maps: Image id to a function that reads the revised maps.
        labels: Image id to a function that reads the pseudo labels.
        masks: Image id to a function that reads the mask.
        classes: Class name to mask value.
        execution: Processes.

    Returns:
        `random_walk_miou`, `pseudo_label_miou`, and the pseudo labels' `iou` by class; none of
        them without masks. The confusion counts of both, and each image's own mIoU.
    """
    maps = check_maps(maps, "revision.maps")
    walk, of_walk = count(count_maps, maps, masks, classes, execution, "Scoring the random walk")
    pseudo, of_pseudo = count(
        count_labels, labels, masks, classes, execution, "Scoring pseudo labels"
    )
    scores = summarise(pseudo, classes)
    metrics = scores and {
        "random_walk_miou": summarise(walk, classes)["miou"],
        "pseudo_label_miou": scores["miou"],
        "iou": scores["iou"],
    }
    images = {i: (score, of_pseudo[i]) for i, score in of_walk.items() if i in of_pseudo}
    return (
        metrics,
        tabulate_confusion({"random walk": walk, "pseudo labels": pseudo}, classes),
        tabulate_images(images, ["random_walk", "pseudo_label"]),
    )
