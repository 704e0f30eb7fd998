"""Rendered photos of the benchmarks, and CAMs as a good classifier would draw them."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import unary_from_probabilities
from affinitynet.core.images import upsample
from affinitynet.pipelines.scenes.render import CLASSES, Scene, render_scene

PHOTO = 5  # seed of a photo of 375 x 500 pixels with two classes


@cache
def scene(seed: int, long_side: int = 500) -> Scene:
    return render_scene(seed, long_side=long_side)


def cams(seed: int) -> ClassMaps:
    """Blurred masks at stride 8, as the catalog stores CAMs: labels (K,) and maps (K, h, w)."""
    mask = scene(seed).mask
    labels = np.unique(mask[mask > 0])
    blurred = [ndimage.gaussian_filter((mask == k).astype(float), 15)[::8, ::8] for k in labels]
    maps = np.stack([each / each.max() for each in blurred])
    return ClassMaps(labels, maps.astype(np.float16))


def unary(seed: int, alpha: float, labels: int = 0) -> npt.NDArray[np.float32]:
    """Energies of background, the photo's classes, and absent ones up to `labels` in all."""
    size = scene(seed).mask.shape
    maps = upsample(cams(seed).maps, (size[0], size[1]))
    background = (1 - maps.max(axis=0)).clip(0) ** alpha
    absent = np.zeros((max(0, labels - 1 - len(maps)), *size))
    return unary_from_probabilities(np.concatenate([background[None], maps, absent]))


def index(seeds: range) -> pd.DataFrame:
    sizes = {str(seed): scene(seed).mask.shape for seed in seeds}
    rows = {i: ("train", "a", width, height) for i, (height, width) in sizes.items()}
    return pd.DataFrame.from_dict(rows, "index", columns=["split", "tags", "width", "height"])


def classes() -> dict[str, int]:
    return {name: value for value, name in enumerate(CLASSES, start=1)}
