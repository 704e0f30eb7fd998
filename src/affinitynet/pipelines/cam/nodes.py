"""Nodes of the `cam` pipeline."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.images import Readers, score_photos, share_out
from affinitynet.pipelines.scoring import count, count_thresholds, summarise


def infer_cams(
    index: pd.DataFrame,
    model: dict[str, Any],
    photos: Readers,
    classes: dict[str, int],
    inference: dict[str, Any],
    execution: Execution,
) -> Iterator[dict[str, dict[str, Any]]]:
    """Compute the CAMs of the training photos, of their tagged classes alone (eq. 1).

    Args:
        index: The images of the data set; those of `train` are done.
        model: The trained classifier's checkpoint.
        photos: Image id to a function that reads the photo.
        classes: Class name to mask value.
        inference: See `affinitynet.pipelines.images.score_photos`.
        execution: Device.

    Yields:
        Image id to `labels` (K,) uint8, the tagged classes' labels, and `maps` (K, h, w)
        float16, their CAMs M_c / max M_c in [0, 1].
    """
    train = index[index["split"] == "train"]
    work = partial(
        _infer, list(classes), model=model, score=_cams, inference=inference, execution=execution
    )
    yield from chunks(
        share_out(
            work,
            train,
            photos,
            options=inference,
            execution=execution,
            description="Inferring CAMs",
        )
    )


def _infer(
    names: list[str], index: pd.DataFrame, photos: Readers, **scoring: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    from affinitynet.core.cams import normalise

    tags = index["tags"].str.split("|")
    for image_id, cams in score_photos(index, photos, **scoring):
        labels = np.array([names.index(name) + 1 for name in tags[image_id]], np.uint8)
        maps = normalise(cams[labels.astype(int) - 1])
        yield image_id, {"labels": labels, "maps": maps.cpu().numpy().astype(np.float16)}


def _cams(network: Any, images: Any) -> Any:
    return network.cam(images)


def score_cams(
    maps: Readers,
    masks: Readers,
    classes: dict[str, int],
    thresholds: list[float],
    execution: Execution,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score the CAMs at the best of a grid of background thresholds.

    The threshold serves the comparison alone: no later stage knows of it.

    Args:
        maps: Image id to a function that reads the CAMs.
        masks: Image id to a function that reads the mask.
        classes: Class name to mask value.
        thresholds: The grid, in (0, 1).
        execution: Processes.

    Returns:
        The scores (`miou`, `iou` by class, `threshold`), and the mIoU at each threshold.
    """
    grid = np.sort(np.asarray(thresholds, float))
    counts = count(
        partial(count_thresholds, thresholds=grid), maps, masks, classes, execution, "Scoring CAMs"
    )
    scores = [summarise(confusion, classes) for confusion in counts]
    curve = pd.DataFrame({"threshold": grid, "miou": [each["miou"] for each in scores]})
    best = int(curve["miou"].to_numpy().argmax())
    return {**scores[best], "threshold": float(grid[best])}, curve
