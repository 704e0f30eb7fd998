"""CAMs at several scales: batches, bfloat16, channels_last, folded norms; and one at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affinitynet.core.cams import normalise
from affinitynet.execution import Execution, pick_device
from affinitynet.networks.checkpoint import initialise, restore
from affinitynet.networks.inference import multi_scale, prepare_for_inference

CONFIG = {
    "kind": "cam",
    "classes": dict.fromkeys("abcdef", 0),
    "backbone": {"name": "tf_efficientnet_lite0", "weights": "efficientnet_lite0"},
}
ScoresAt = list[tuple[float, Callable[[Tensor], Tensor]]]


@torch.inference_mode()
def one_at_a_time(scores_at: ScoresAt, images: Tensor) -> Tensor:
    """One photo, one scale and one flip a pass, in float32."""
    height, width = images.shape[-2:]
    grid = (-(-height // 8), -(-width // 8))
    maps = []
    for image in images[:, None].float() / 255:
        total = torch.zeros(6, *grid)
        for scale, score in scores_at:
            size = (round(height * scale), round(width * scale))
            scaled = functional.interpolate(image, size, mode="bilinear", antialias=True)
            for flip in (False, True):
                scores = score(scaled.flip(-1) if flip else scaled)
                scores = functional.interpolate(scores, grid, mode="bilinear")
                total += (scores.flip(-1) if flip else scores)[0]
        maps.append(total / len(scores_at) / 2)
    return torch.stack(maps)


def mean_difference(ours: Tensor, baseline: Tensor) -> float:
    """Mean absolute difference of the normalised CAMs, in [0, 1]."""
    pairs = zip(ours, baseline, strict=True)
    return float(torch.stack([(normalise(a) - normalise(b)).abs().mean() for a, b in pairs]).mean())


@pytest.mark.parametrize(
    ("size", "photos", "scales"),
    [
        ((96, 128), 16, [(1.0, 8), (1.5, 16)]),  # the embedded default
        ((192, 256), 8, [(1.0, 16), (1.5, 16), (2.0, 16)]),  # voc_cpu
    ],
)
def test_cam_inference(
    size: tuple[int, int], photos: int, scales: list[tuple[float, int]], compare: Any
) -> None:
    checkpoint = initialise(CONFIG, seed=0)
    networks: Any = {stride: restore(checkpoint, output_stride=stride) for _, stride in scales}
    scores_at = [(scale, networks[stride].cam) for scale, stride in scales]
    pick_device(Execution(device="cpu"))  # as every node does that runs a network
    prepared: Any = {stride: prepare_for_inference(network) for stride, network in networks.items()}
    prepared_at = [(scale, prepared[stride].cam) for scale, stride in scales]
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (photos, 3, 24, 32), generator=generator).float()
    images = functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255).byte()
    torch.testing.assert_close(  # but for bfloat16, they are the same
        multi_scale(prepared_at, images[:2]),
        one_at_a_time(scores_at, images[:2]),
        rtol=1e-3,
        atol=1e-4,
    )
    compare(
        f"CAMs of {photos} photos of {size[0]} x {size[1]}, {len(scales)} scales and flips",
        partial(multi_scale, prepared_at, images, bfloat16="auto"),
        partial(one_at_a_time, scores_at, images),
        tolerance=0.02,
        difference=mean_difference,
        calls=1,
        images=photos,
    )
