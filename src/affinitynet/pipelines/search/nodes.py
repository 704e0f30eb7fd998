"""Nodes of the `search` pipeline: what `revision` does, tried at many settings on the same photos.

The CAMs' background threshold, which only their score needs, is tried beside it. No network runs
but AffinityNet, once. The walk is linear, so one pass over the cached affinities scores the whole
grid of its settings; the dense CRF is searched on the maps that the best of them gives.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.label_maps import Classes, LabelMap, decode
from affinitynet.core.metrics import class_counts, mean_iou, mean_iou_of_counts
from affinitynet.data.corrections import Corrected, without_corrected
from affinitynet.data.files import Arrays, Partitions
from affinitynet.deferred import pandas as pd
from affinitynet.errors import UserError
from affinitynet.execution import Execution, chunks
from affinitynet.pipelines.parameters import Range, Revision, SearchRefine
from affinitynet.pipelines.per_image import (
    NetworkWork,
    checked,
    map_items,
    per_batch,
    per_image,
    photos_with,
)
from affinitynet.pipelines.scoring import (
    Counts,
    count,
    count_labels,
    count_maps,
    count_thresholds,
    threshold_counts,
)
from affinitynet.pipelines.search.settings import Setting, flatten, suggest, with_setting
from affinitynet.stages.parameters import AUTO, WALK, AutoRandomWalk, WalkSetting, WalkSpace

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.floating[Any]]
PREFIX = "revision.random_walk."
GAIN = 0.001
"""Gain in mIoU that is worth further trials."""
EDGE = 0.02
"""Share of a range that is its edge."""


def choose_photos(
    index: pd.DataFrame,
    masks: Partitions[LabelMap],
    images: int | None,
    seed: int,
    corrected: Corrected,
) -> pd.DataFrame:
    """Draw training photos that can be scored: those with a tag and a mask, no corrected one.

    Returns:
        Their rows of the index, in its order.

    Raises:
        UserError: If there is no such photo.
    """
    scored = photos_with(without_corrected(masks, corrected, index), index)
    if scored.empty:
        raise UserError(
            "search: no training photo has both a tag and a mask, and without masks no setting is "
            "better than another. Give masks to some photos of the training list."
        )
    drawn = scored.sample(min(images or len(scored), len(scored)), random_state=seed)
    return scored[scored.index.isin(drawn.index)]


def compute_affinities(
    sample: pd.DataFrame,
    model: Checkpoint,
    photos: Partitions[Image.Image],
    random_walk: AutoRandomWalk,
    execution: Execution,
) -> Iterator[dict[str, dict[str, Floats]]]:
    """Compute the affinities of neighbours, as the random walk of `revision` has them.

    Yields:
        Image id to `affinities` (P, h, w), float16 in [0, 1], before any exponent.
    """
    from affinitynet.stages.revision import AffinityExtractor

    work = NetworkWork(AffinityExtractor, model, random_walk, execution, "Affinities")
    yield from per_batch(work, sample, photos)


def search_thresholds(
    sample: pd.DataFrame,
    maps: Partitions[ClassMaps],
    masks: Partitions[LabelMap],
    classes: Classes,
    thresholds: list[float],
    execution: Execution,
) -> pd.DataFrame:
    """Score the CAMs at every background threshold, as `cam` does on all photos.

    Returns:
        One row a threshold: `cam.thresholds` and `miou`.
    """
    grid = np.unique(np.asarray(thresholds, float))
    joint, _ = count(
        partial(count_thresholds, thresholds=grid),
        checked({i: maps[i] for i in sample.index if i in maps}, "cam.maps"),
        masks,
        classes,
        execution,
        "Trying background thresholds",
        score=_no_score,
    )
    counts = threshold_counts(joint, len(classes) + 1)
    return pd.DataFrame({"cam.thresholds": grid, "miou": mean_iou_of_counts(counts)})


def search_walks(
    affinities: Partitions[Arrays],
    maps: Partitions[ClassMaps],
    masks: Partitions[LabelMap],
    classes: Classes,
    space: WalkSpace,
    random_walk: AutoRandomWalk,
    execution: Execution,
) -> pd.DataFrame:
    """Score the random walk at every setting of a grid, in one pass over the photos.

    Returns:
        One row a setting: its parameters by their full names, and `miou`.
    """
    maps = checked(maps, "cam.maps")
    counts, _ = count(
        partial(_count_walks, space=space, radius=random_walk.radius),
        {i: partial(_read_both, affinities[i], maps[i]) for i in affinities if i in maps},
        masks,
        classes,
        execution,
        "Trying random walks",
        score=_no_score,
    )
    trials = pd.DataFrame(space.settings(), columns=[f"{PREFIX}{name}" for name in WALK])
    return trials.assign(miou=mean_iou_of_counts(counts))


def _count_walks(
    stored: tuple[Floats, ClassMaps],
    truth: npt.NDArray[np.uint8],
    values: list[int],
    *,
    space: WalkSpace,
    radius: int,
) -> Counts:
    """Count one image at every setting: (settings, 3, K + 1), what IoU needs."""
    from affinitynet.stages.revision import photo_walks

    walked = photo_walks(*stored, space.settings(), radius=radius)
    counted = (count_maps(maps, truth, values) for maps in walked)
    return np.stack([*map(class_counts, counted)])


def _no_score(counts: Any) -> None:
    """No score of a single image: only the sum over all images is of interest."""


def add_present(
    grid_trials: pd.DataFrame,
    sample: pd.DataFrame,
    walked: Partitions[ClassMaps],
    masks: Partitions[LabelMap],
    classes: Classes,
    random_walk: AutoRandomWalk,
    execution: Execution,
) -> pd.DataFrame:
    """Score the maps that `revision` has made, which the search has to beat.

    Returns:
        The trials, and one more, with the present values; NaN for those that are `auto`.
    """
    own = checked({i: walked[i] for i in sample.index if i in walked}, "revision.maps")
    counts, _ = count(
        count_maps, own, masks, classes, execution, "Scoring the present walk", score=_no_score
    )
    given = {name: getattr(random_walk, name) for name in WALK}
    present = {f"{PREFIX}{n}": math.nan if value == AUTO else value for n, value in given.items()}
    present["miou"] = float(mean_iou(counts))
    return pd.concat([grid_trials, pd.DataFrame([present])], ignore_index=True)


def walk_best(
    sample: pd.DataFrame,
    affinities: Partitions[Arrays],
    maps: Partitions[ClassMaps],
    walked: Partitions[ClassMaps],
    walk_trials: pd.DataFrame,
    random_walk: AutoRandomWalk,
    execution: Execution,
) -> Iterator[dict[str, ClassMaps]]:
    """Spread the CAMs by the best random walk that was found.

    Yields:
        Image id to its walked maps, as `revision` makes them, or has made them by `auto`.
    """
    best = best_of(walk_trials)
    chosen = {name: best[f"{PREFIX}{name}"] for name in WALK}
    ids = [i for i in sample.index if i in affinities and i in maps]
    if any(map(math.isnan, chosen.values())):
        yield from ({i: walked[i]()} for i in ids)
        return
    setting = WalkSetting(chosen["alpha"], chosen["beta"], int(chosen["steps"]))
    maps = checked(maps, "cam.maps")
    do = partial(_walk_one, setting, random_walk.radius)
    items = [(i, affinities[i], maps[i]) for i in ids]
    yield from chunks(map_items(do, items, execution, "Random walk"))


def _walk_one(
    setting: WalkSetting,
    radius: int,
    read_affinities: Callable[[], Mapping[str, Floats]],
    read_maps: Callable[[], ClassMaps],
) -> ClassMaps:
    from affinitynet.stages.revision import photo_walks

    stored = _read_both(read_affinities, read_maps)
    (walked,) = photo_walks(*stored, [setting], radius=radius)
    return walked


def search_refinements(
    photos: Partitions[Image.Image],
    maps: Partitions[ClassMaps],
    masks: Partitions[LabelMap],
    classes: Classes,
    search: SearchRefine,
    revision: Revision,
    execution: Execution,
) -> pd.DataFrame:
    """Search the dense CRF's parameters by the pseudo labels' score (Optuna's TPE sampler).

    The first trial takes the present values, as far as they lie in the space. The search ends when
    `patience` trials have gained less than `GAIN`.

    Returns:
        One row a trial: its parameters by their full names, and `miou`.

    Raises:
        UserError: If Optuna is not installed.
    """
    from affinitynet.stages.refinement import Refiner

    values, walked = [*classes.values()], checked(maps, "search.maps")
    rows: list[Setting] = []
    best, last_gain = -np.inf, 0
    for setting, tell in suggest(flatten(search.space), flatten(revision), search.trials):
        refiner = Refiner(values, with_setting(revision, setting))
        made = per_image(refiner, maps, [photos, walked], execution, "Refining pseudo labels")
        miou = _score(made, masks, values)
        tell(miou)
        rows.append({f"revision.{name}": value for name, value in setting.items()} | {"miou": miou})
        if miou >= best + GAIN:
            last_gain = len(rows)
        best = max(best, miou)
        logger.info("Trial %d of %d: mIoU %.3f, best %.3f", len(rows), search.trials, miou, best)
        if search.patience and len(rows) - last_gain >= search.patience:
            logger.info("No gain of %g in %d trials: the search ends.", GAIN, search.patience)
            break
    return pd.DataFrame(rows) if rows else pd.DataFrame({"miou": []}, dtype=float)


def _score(
    labels: Iterator[dict[str, npt.NDArray[np.uint8]]],
    masks: Partitions[LabelMap],
    values: list[int],
) -> float:
    size = len(values) + 1
    total = np.zeros((size, size), np.int64)
    for chunk in labels:
        for image_id, label_map in chunk.items():
            total += count_labels(label_map, decode(masks[image_id](), values), values)
    return float(mean_iou(total))


def report_trials(
    sample: pd.DataFrame,
    cam_trials: pd.DataFrame,
    walk_trials: pd.DataFrame,
    refine_trials: pd.DataFrame,
    walks: WalkSpace,
    search: SearchRefine,
) -> tuple[pd.DataFrame, str]:
    """Put all trials into one table, and the best of them into a parameters file.

    Args:
        refine_trials: On the best walk's maps; may be empty.
        walks: The values of the walk that were tried.
        search: With those of the dense CRF.

    Returns:
        `stage` (cam, walk, refine), each parameter by its full name and `miou`, one row per trial;
        and the best parameters of `revision` as YAML. No stage uses the threshold: it is a comment.
    """
    from omegaconf import OmegaConf

    threshold, walk = best_of(cam_trials), best_of(walk_trials)
    scores = f"mIoU {threshold['miou']:.3f} of the CAMs at the background threshold "
    scores += f"{threshold['cam.thresholds']:g}, "
    scores += f"{walk.pop('miou'):.3f} after the random walk"
    best = {name: number_or_auto(value) for name, value in walk.items()}
    tables = [cam_trials.assign(stage="cam"), walk_trials.assign(stage="walk")]
    if len(refine_trials):
        tables.append(refine_trials.assign(stage="refine", **walk))
        best |= best_of(refine_trials)
        scores += f", {best.pop('miou'):.3f} of the pseudo labels"
    config = OmegaConf.create()
    for name, value in best.items():
        OmegaConf.update(config, name, value)
    found = f"# Found by search on {len(sample)} training photos: {scores}.\n"
    text = found + OmegaConf.to_yaml(config)
    logger.info("The best parameters:\n%s", text)
    spaces = {f"random_walk.{name}": values for name, values in vars(walks).items()}
    for name in _at_edges(best, spaces | flatten(search.space)):
        logger.warning(
            "The best %s, %g, is at the edge of what was tried: a wider search.*.space may find "
            "better ones.",
            *(name, best[name]),
        )
    trials = pd.concat(tables, ignore_index=True)
    return trials[["stage", "cam.thresholds", *best, "miou"]], text


def _at_edges(best: Mapping[str, Any], spaces: Mapping[str, Any]) -> Iterator[str]:
    """Name the parameters of `revision` whose value is the first or last, or near a range's end."""
    for name, value in best.items():
        if value == AUTO:
            continue
        tried = spaces[name.removeprefix("revision.")]
        if isinstance(tried, Range):
            near = EDGE * (tried.high - tried.low)
            low, high = tried.low + near, tried.high - near
        else:
            low, high = min(tried), max(tried)
        if low < high and not low < value < high:
            yield name


def number_or_auto(value: float) -> float | str:
    """Write a value of a table as parameters have it."""
    return AUTO if math.isnan(value) else int(value) if value == int(value) else float(value)


def best_of(trials: pd.DataFrame) -> Setting:
    """Return the row of the highest mIoU, the first of equals."""
    (best,) = trials.nlargest(1, "miou").to_dict("records")
    return {str(name): value for name, value in best.items()}


def _read_both(
    read_affinities: Callable[[], Mapping[str, Floats]], read_maps: Callable[[], ClassMaps]
) -> tuple[Floats, ClassMaps]:
    return read_affinities()["affinities"], read_maps()
