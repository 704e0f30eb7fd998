"""Nodes of the `revision` pipeline."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes, LabelMap, decode
from affinitynet.core.metrics import class_counts
from affinitynet.core.segments import SLIC
from affinitynet.core.selection import select_setting
from affinitynet.core.separation import variance_between_classes
from affinitynet.data.corrections import Corrected, corrected_labels, without_corrected
from affinitynet.data.files import Partitions
from affinitynet.data.given_segments import inspect_segments, match_segments
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError, list_problems
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import Revision
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    draw,
    map_items,
    map_on_devices,
    per_batch,
    per_image,
    photos_with,
    tagged_photos,
)
from affinitynet.pipelines.scoring import (
    Counts,
    Metrics,
    count,
    count_labels,
    count_maps,
    summarise,
    tabulate_confusion,
    tabulate_images,
)
from affinitynet.pipelines.search.settings import Setting, flatten, with_setting
from affinitynet.stages.parameters import (
    WALK,
    AutoRandomWalk,
    Refinement,
    Vote,
    WalkSetting,
    WalkSpace,
)

if TYPE_CHECKING:
    from affinitynet.stages.refinement import Refiner

logger = logging.getLogger(__name__)


def choose_walk(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    random_walk: AutoRandomWalk,
    space: WalkSpace,
    execution: Execution,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Choose what the walk's parameters leave open; no mask is involved.

    Those settings are the best whose regions look most like those of their class in the other
    photos, and least like the background's: see `affinitynet.core.separation`.

    Args:
        random_walk: What is given, and what is `auto`.
        space: Values to try.

    Returns:
        `alpha`, `beta` and `steps` of the best setting; and all settings, the best first, with the
        share of the variance that lies `between` the classes.
    """
    from affinitynet.stages.revision import WalkTrials

    settings = space.keep_given(random_walk).settings()
    trials = pd.DataFrame(settings).assign(between=math.nan)
    some = draw(photos_with(maps, index), random_walk.compared)
    if len(settings) > 1 and len(some):
        make = partial(WalkTrials, settings=settings)
        work = NetworkWork(make, model, random_walk, execution, "Trying random walks")
        tried = map_on_devices(work, some, photos, checked(maps, "cam.maps"))
        regions = (photo for _, photo in tried)
        trials["between"] = variance_between_classes(regions, len(model.config["classes"]))
        trials = trials.sort_values("between", ascending=False, kind="stable", ignore_index=True)
        logger.info("%d random walks were tried on %d photos.", len(settings), len(some))
    return _first(trials), trials


def _first(trials: pd.DataFrame) -> dict[str, float]:
    return {name: trials[name].iloc[0].item() for name in WALK}


def check_segments(
    index: pd.DataFrame, given: Partitions[Image.Image], vote: Vote, execution: Execution
) -> dict[str, float]:
    """Read the regions of all tagged training photos once, and stop if something is wrong.

    Returns:
        `photos` and `regions`, the mean number of a photo; empty for superpixels.

    Raises:
        UserError: With one line per problem.
    """
    if vote.segments == SLIC:
        return {}
    tagged = tagged_photos(index)
    found = match_segments(given, tagged.index)
    counts = []
    missing = [i for i in tagged.index if i not in found]
    wrong = {"there are no regions of the photo": missing} if missing else {}
    sizes = tagged[["width", "height"]].itertuples(name=None)
    items = [(i, found[i], width, height) for i, width, height in sizes if i in found]
    for image_id, count_or_problem in map_items(
        inspect_segments, items, execution, "Checking the regions"
    ):
        if isinstance(count_or_problem, int):
            counts.append(count_or_problem)
        else:
            wrong.setdefault(count_or_problem, []).append(image_id)
    if wrong:
        title = f"segments={vote.segments}: the regions do not fit the photos:"
        raise UserError(title + list_problems(wrong))
    logger.info("%d photos have %.0f regions in the mean.", len(counts), np.mean(counts))
    return {"photos": len(counts), "regions": float(np.mean(counts))}


def walk_cams(
    index: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    random_walk: AutoRandomWalk,
    trials: pd.DataFrame,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Spread the CAMs, background included, by the random walk vec M* = T^t vec M.

    Args:
        trials: From `choose_walk`; the maps are the mean of the first `averaged` walks.
    """
    from affinitynet.stages.revision import RandomWalker

    best = trials.head(random_walk.averaged)[[*WALK]].itertuples(index=False, name=None)
    make = partial(RandomWalker, settings=[WalkSetting(*values) for values in best])
    walk = random_walk.resolve(_first(trials))
    work = NetworkWork(make, model, walk, execution, "Random walk")
    found = photos_with(maps, index)
    yield from per_batch(work, found, photos, checked(maps, "cam.maps"))


def choose_crf(
    index: pd.DataFrame,
    corrected: Corrected,
    classes: Classes,
    revision: Revision,
    execution: Execution,
    *inputs: Partitions[Any],
) -> Setting:
    """Choose the dense CRF's values by the masks of corrected photos, where there are enough.

    Args:
        inputs: The photos, the walk's maps, and regions, if they vote.

    Returns:
        The values that were chosen, none of them where the configured ones are better on photos
        that the others are not chosen by. Where there was a choice, `crf_photos` that it was made
        by, and the mIoU on photos left out: `crf_miou`, and `crf_present_miou` of the configured.
    """
    from affinitynet.stages.refinement import Refiner

    options = revision.choose_crf
    truth = corrected_labels(corrected, index, classes)
    found = photos_with(truth.keys() & inputs[1].keys(), index)
    if options.least is None or len(found) < options.least:
        return {}
    drawn = draw(found, options.most).index
    settings = list_settings(revision)
    values = [*classes.values()]
    refiners = [Refiner(values, with_setting(revision, setting)) for setting in settings]
    counted = per_image(
        partial(_count_refined, values, refiners),
        drawn,
        [truth, *_refiner_inputs(tagged_photos(index).index, *inputs)],
        execution,
        "Trying dense CRFs",
    )
    counts = np.stack([each for chunk in counted for each in chunk.values()])
    selected = select_setting(counts, folds=options.folds)
    setting = settings[selected.setting]
    chosen = ", ".join(f"{name} {value:g}" for name, value in setting.items())
    logger.info(
        "The dense CRF has %s, by %d corrected photos: mIoU %.3f on photos left out, %.3f with the "
        "configured values.",
        chosen or "its configured values",
        len(counts),
        selected.miou,
        selected.present_miou,
    )
    scores = {"crf_miou": selected.miou, "crf_present_miou": selected.present_miou}
    return setting | {"crf_photos": len(counts)} | scores


def with_chosen(options: Refinement, chosen: Setting) -> Refinement:
    """Replace values of the dense CRF by those that `choose_crf` chose."""
    known = flatten(options)
    return with_setting(options, {name: chosen[name] for name in chosen if name in known})


def list_settings(revision: Revision) -> list[Setting]:
    """List the dense CRF's values to try: nothing changed, no CRF, and the grid."""
    crf, grid = revision.crf, revision.choose_crf
    return [
        {},
        {"crf.compat_gaussian": 0.0, "crf.compat_bilateral": 0.0},
        *(
            {
                "crf.sxy_gaussian": width * crf.sxy_gaussian,
                "crf.sxy_bilateral": width * crf.sxy_bilateral,
                "crf.srgb": colour * crf.srgb,
                "confidence": confidence,
            }
            for width, colour, confidence in product(grid.widths, grid.colours, grid.confidence)
        ),
    ]


def _count_refined(
    values: list[int], refiners: list[Refiner], mask: LabelMap, *inputs: Any
) -> Counts:
    """Count one image at every setting: (settings, 3, K + 1), what IoU needs."""
    truth = decode(mask, values)
    counts = [count_labels(refine(*inputs), truth, values) for refine in refiners]
    return class_counts(np.stack(counts))


def make_pseudo_labels(
    index: pd.DataFrame,
    classes: Classes,
    revision: Revision,
    chosen: Setting,
    execution: Execution,
    *inputs: Partitions[Any],
) -> Iterator[dict[str, LabelMap]]:
    """Upsample the revised maps, let regions vote, and refine the argmax with the dense CRF.

    Args:
        chosen: From `choose_crf`.
        inputs: As there.
    """
    from affinitynet.stages.refinement import Refiner

    refiner = Refiner([*classes.values()], with_chosen(revision, chosen))
    ids = tagged_photos(index).index
    given = _refiner_inputs(ids, *inputs)
    yield from per_image(refiner, ids, given, execution, "Refining pseudo labels")


def _refiner_inputs(
    ids: Collection[str],
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    segments: Partitions[Image.Image],
) -> list[Partitions[Any]]:
    given = [match_segments(segments, ids)] if segments else []
    return [photos, checked(maps, "revision.maps"), *given]


def score_revision(
    maps: Partitions[ClassMaps],
    labels: Partitions[LabelMap],
    masks: Partitions[LabelMap],
    corrected: Corrected,
    index: pd.DataFrame,
    classes: Classes,
    execution: Execution,
) -> tuple[Metrics, pd.DataFrame, pd.DataFrame]:
    """Score the walk and the pseudo labels, corrected photos apart.

    Returns:
        `random_walk_miou`, `pseudo_label_miou`, and the pseudo labels' `iou` by class; none of
        them without masks. The confusion counts of both, and each image's own mIoU.
    """
    maps, masks = checked(maps, "revision.maps"), without_corrected(masks, corrected, index)
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
