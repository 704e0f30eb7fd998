"""The dense CRF: two backgrounds on one photo, and all cores."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydensecrf.densecrf import DenseCRF2D

from affinitynet.core.dense_crf import CRFParameters, refine_many
from affinitynet.data.files import Partitions
from affinitynet.execution import Execution
from affinitynet.pipelines.affinity_labels.nodes import label_pixels
from affinitynet.pipelines.parameters import AffinityLabels
from affinitynet.stages.parameters import Alphas
from scenes import PHOTO, cams, classes, index, scene, unary

LOW, HIGH = 4.0, 24.0  # alpha
Floats = npt.NDArray[np.float32]


def plain_crf(image: npt.NDArray[np.uint8], energies: Floats) -> Floats:
    """One call as public implementations make it, with its own lattices."""
    labels, height, width = energies.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(energies.reshape(labels, -1))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image.copy(), compat=10)
    return np.array(crf.inference(10), np.float32).reshape(energies.shape)


def share_of_other_labels(ours: Any, baseline: Any) -> float:
    pairs = zip(ours, baseline, strict=True)
    return float(np.mean([a.argmax(axis=0) != b.argmax(axis=0) for a, b in pairs]))


@pytest.mark.parametrize(
    ("labels", "agreement"),
    [
        (0, {"tolerance": 1e-5}),
        (21, {"tolerance": 1e-3, "difference": share_of_other_labels}),
    ],
)
def test_both_backgrounds(labels: int, agreement: dict[str, Any], compare: Any) -> None:
    image = scene(PHOTO).image
    ours = [unary(PHOTO, alpha) for alpha in (LOW, HIGH)]
    theirs = [unary(PHOTO, alpha, labels) for alpha in (LOW, HIGH)]
    compare(
        f"dense CRF at both alphas, {len(ours[0])} labels, against two calls, {len(theirs[0])}",
        lambda: refine_many(image, ours),
        lambda: [plain_crf(image, energies) for energies in theirs],
        calls=1,
        turns=5 if not labels else 2,
        **agreement,
    )


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """An engine; Ray's processes are ended, as they would go on beside the other benchmarks."""
    if request.param == "ray" and not find_spec("ray"):
        pytest.skip('needs Ray: pip install "affinitynet[cluster]"')
    yield request.param
    if request.param == "ray":
        import ray

        ray.shutdown()


def test_all_cores(engine: str, compare: Any) -> None:
    processes = Execution().processes
    seeds = range(16)
    photos = {str(seed): partial(Image.fromarray, scene(seed).image) for seed in seeds}
    maps: Partitions[Any] = {str(seed): partial(dict, cams(seed)) for seed in seeds}

    def label(workers: int) -> list[npt.NDArray[np.uint8]]:
        chunks = label_pixels(
            index(seeds),
            photos,
            maps,
            classes(),
            AffinityLabels(Alphas(low=LOW, high=HIGH), CRFParameters(), None),
            Execution(engine=engine, workers=workers),
        )
        return [labels.ravel() for chunk in chunks for labels in chunk.values()]

    label(processes)  # start the processes
    compare(
        f"confident labels at 500 px, {processes} processes of {engine} against 1",
        lambda: np.concatenate(label(processes)),
        lambda: np.concatenate(label(1)),
        tolerance=0,
        turns=2,
        calls=1,
        images=len(seeds),
    )
