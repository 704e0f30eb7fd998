"""The random walk against the dense matrix power, and how its time and memory grow."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affinitynet.core.affinity import neighbourhood
from affinitynet.core.random_walk import propagate, symmetric_transition, walk

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")  # torch: CSR is in beta

CHANNELS, BETA, STEPS = 448, 8.0, 256


def grid(height: int, width: int, maps: int = 4) -> tuple[Tensor, Tensor]:
    """Maps and features of a photo of height x width pixels at stride 8; the last map is 1."""
    generator = torch.Generator().manual_seed(0)
    size = (-(-height // 8), -(-width // 8))
    coarse = torch.rand(1, CHANNELS, 12, 16, generator=generator)
    scores = torch.rand(maps, *size, generator=generator)
    scores[-1] = 1
    return scores, functional.interpolate(coarse, size, mode="bilinear")[0]


def dense_transition(features: Tensor, radius: int = 5) -> Tensor:
    """T = D^-1 W^beta as an N x N matrix; the features are gathered by pair: (C, P N) copies."""
    _, height, width = features.shape
    cells = torch.arange(height * width).view(height, width)
    first, second = [], []
    for dy, dx in neighbourhood(radius):
        rows, left, right = height - dy, max(-dx, 0), width - max(dx, 0)
        first.append(cells[:rows, left:right].flatten())
        second.append(cells[dy:, left + dx : right + dx].flatten())
    one, other = torch.cat(first), torch.cat(second)
    flat = features.flatten(1)
    affinities = torch.exp(-(flat[:, one] - flat[:, other]).abs().mean(dim=0))
    weights = torch.eye(height * width)
    weights[one, other] = weights[other, one] = affinities**BETA
    return weights / weights.sum(dim=1, keepdim=True)


def dense_walk(maps: Tensor, transition: Tensor) -> Tensor:
    """Square T eight times: vec M* = T^256 vec M."""
    for _ in range(8):
        transition = transition @ transition
    return (transition @ maps.flatten(1).T).T.view(maps.shape)


def dense_propagate(maps: Tensor, features: Tensor) -> Tensor:
    return dense_walk(maps, dense_transition(features))


def test_walk(compare: Any) -> None:
    maps, features = grid(375, 500)
    symmetric, root = symmetric_transition(features, beta=BETA)
    transition = dense_transition(features)
    compare(
        "walk, 375 x 500, t 256",
        lambda: walk(maps, symmetric, root, steps=STEPS),
        lambda: dense_walk(maps, transition),
        tolerance=1e-5,
        calls=20,
    )


def test_propagate(compare: Any, peak_memory: Any) -> None:
    maps, features = grid(375, 500)
    compare(
        "propagate, 375 x 500, 448 channels, t 256",
        lambda: propagate(maps, features, beta=BETA, steps=STEPS),
        lambda: dense_propagate(maps, features),
        tolerance=1e-5,
        calls=10,
        memory=peak_memory(propagate_grid, 375, 500, 4, 256, 5),
        baseline_memory=peak_memory(dense_propagate_grid, 375, 500),
    )


@pytest.mark.parametrize(
    ("height", "width", "maps", "steps", "radius"),
    [
        (375, 500, 4, 256, 5),
        (750, 1000, 4, 256, 5),
        (1500, 2000, 4, 256, 5),
        (2000, 3000, 4, 256, 5),
        (375, 500, 1, 256, 5),
        (375, 500, 21, 256, 5),
        (375, 500, 4, 64, 5),
        (375, 500, 4, 1024, 5),
        (375, 500, 4, 256, 3),
        (375, 500, 4, 256, 8),
    ],
)
def test_growth(
    height: int,
    width: int,
    maps: int,
    steps: int,
    radius: int,
    benchmark: Any,
    record: Any,
    peak_memory: Any,
) -> None:
    scores, features = grid(height, width, maps)
    walked = benchmark.pedantic(
        lambda: propagate(scores, features, radius=radius, beta=BETA, steps=steps),
        rounds=2 if height > 1000 else 10,
    )
    torch.testing.assert_close(walked[-1], scores[-1], rtol=0, atol=1e-5)  # T keeps constants
    assert scores.min() - 1e-5 <= walked.min() <= walked.max() <= scores.max() + 1e-5
    record(
        f"propagate, {height} x {width}, {maps} maps, t {steps}, radius {radius}",
        time=benchmark.stats.stats.min,
        memory=peak_memory(propagate_grid, height, width, maps, steps, radius),
    )


def propagate_grid(height: int, width: int, maps: int, steps: int, radius: int) -> None:
    propagate(*grid(height, width, maps), radius=radius, beta=BETA, steps=steps)


def dense_propagate_grid(height: int, width: int) -> None:
    dense_propagate(*grid(height, width))
