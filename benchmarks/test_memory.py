"""Memory where the tables are largest: 254 classes, and 10,000 frames of one camera."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

CLASSES = {f"class {value}": value for value in range(1, 255)}
PHOTOS, SIDE = 32, 64  # that are counted
FRAMES = 10_000
LIMIT = 1500.0  # megabytes


def plot_confusion() -> None:
    """The plot of a run's six confusion matrices, as the catalog saves it."""
    from affinitynet.pipelines.reporting import plots
    from affinitynet.pipelines.scoring import tabulate_confusion

    rng, size = np.random.default_rng(0), len(CLASSES) + 1

    def table(*steps: str) -> pd.DataFrame:
        counts = {step: rng.integers(0, 100, (size, size + 1)) for step in steps}
        return tabulate_confusion(counts, CLASSES)

    labels = table("confident object", "confident background")
    revision = table("random walk", "pseudo labels")
    figure = plots.plot_confusion(table("CAM"), labels, revision, table("segmentation"))
    figure.savefig(BytesIO(), format="png")


def search_counts() -> None:
    """The counts of every setting that `search` tries by default."""
    from omegaconf import OmegaConf

    from affinitynet.core.class_maps import ClassMaps
    from affinitynet.execution import Execution
    from affinitynet.pipelines.parameters import WalkSpace
    from affinitynet.pipelines.search.nodes import search_thresholds, search_walks
    from affinitynet.stages.parameters import RandomWalk

    spaces = OmegaConf.load("conf/base/parameters_search.yml").search
    walk = OmegaConf.load("conf/base/parameters_revision.yml").revision.random_walk
    rng, ids = np.random.default_rng(0), [str(number) for number in range(PHOTOS)]
    coarse = SIDE // 8
    affinities, maps = rng.random((2, 34, coarse, coarse)).astype(np.float16)

    def read_maps() -> ClassMaps:
        labels = np.sort(rng.choice(np.arange(1, 255), 20, replace=False)).astype(np.uint8)
        return ClassMaps(labels, maps[:20])

    def read_mask() -> Any:
        return rng.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)

    cams, masks = dict.fromkeys(ids, read_maps), dict.fromkeys(ids, read_mask)
    execution = Execution(workers=1)
    sample = pd.DataFrame(index=pd.Index(ids, name="id"))
    search_thresholds(sample, cams, masks, CLASSES, [*spaces.cam.space.thresholds], execution)
    search_walks(
        dict.fromkeys(ids, lambda: {"affinities": affinities}),
        cams,
        masks,
        CLASSES,
        WalkSpace(**{name: tuple(values) for name, values in spaces.walk.space.items()}),
        RandomWalk(**walk),
        execution,
    )


def group_frames() -> None:
    """What ingestion does with photos of which each is nearly the one before, in 254 classes."""
    from affinitynet.data.checks import inspect_photo
    from affinitynet.data.near_duplicates import group_near_duplicates
    from affinitynet.data.split import divide_groups, draw_val

    hashes = [inspect_photo(lambda photo=photo: photo).hash for photo in frames()]
    shown = np.arange(FRAMES)[:, None] % len(CLASSES) == np.arange(len(CLASSES))
    groups, _ = divide_groups(shown, group_near_duplicates(hashes), 0.2)
    assert draw_val(shown, groups, 0.2, seed=0).any()


def frames() -> Iterator[Any]:
    """Photos of one place with a little noise each, and a lamp that moves."""
    from PIL import Image

    rng = np.random.default_rng(0)
    place = rng.integers(0, 256, (9, 9)).repeat(8, axis=0).repeat(8, axis=1)
    for number in range(FRAMES):
        frame = place + rng.integers(-12, 13, place.shape)
        frame[16:24, number % 64 : number % 64 + 8] = 255
        yield Image.fromarray(frame.clip(0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize(
    ("title", "work"),
    [
        ("confusion plot, 254 classes", plot_confusion),
        (f"search, 254 classes, {PHOTOS} photos", search_counts),
        (f"near-duplicates and split of {FRAMES:,} frames, 254 classes", group_frames),
    ],
)
def test_peak(
    title: str, work: Callable[[], None], benchmark: Any, record: Any, peak_memory: Any
) -> None:
    memory = benchmark.pedantic(lambda: peak_memory(work), rounds=1)
    record(title, time=benchmark.stats.stats.min, memory=memory)
    assert memory < LIMIT
