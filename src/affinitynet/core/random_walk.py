"""The random walk that spreads CAMs along affinities: vec M* = T^t vec M (paper, section 3.3).

T = D^-1 W^(beta) has as many entries as there are pairs of neighbours, so it is kept sparse, and
it is similar to the symmetric S = D^-1/2 W^(beta) D^-1/2. The spectrum of S lies in [-1, 1], where
x^t is approximated by a Chebyshev polynomial of degree about sqrt(2 t log(1 / tolerance)), far
less than t: T^t M = D^-1/2 p(S) D^1/2 M needs that many products.

Photos of one shape may walk together, which keeps a GPU busy: the matrix of a batch has their
matrices on its diagonal, so that no walk leaves its photo.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

from affinitynet.core.affinity import neighbourhood, pair_affinities, pair_slices


def propagate(
    maps: Tensor,
    features: Tensor,
    *,
    radius: int = 5,
    beta: float = 8.0,
    steps: int = 256,
    tolerance: float = 1e-6,
) -> Tensor:
    """Spread score maps by `steps` steps of the random walk.

    Args:
        maps: Scores (K, H, W), or of a batch of photos (N, K, H, W).
        features: AffinityNet's features (C, H, W), or (N, C, H, W).
        radius: Of the neighbourhood.
        beta: Exponent of the affinities, W^(beta).
        steps: t; 0 leaves the maps as they are.
        tolerance: Bound of the error, relative to the maps' scale.

    Returns:
        (K, H, W) or (N, K, H, W), float32.

    Raises:
        ValueError: If the grids or the batches of maps and features differ, or steps is negative.
    """
    if maps.shape[-2:] != features.shape[-2:]:
        raise ValueError(
            f"maps are on a grid of {tuple(maps.shape[-2:])}, "
            f"features of {tuple(features.shape[-2:])}; resize the maps."
        )
    if maps.shape[:-3] != features.shape[:-3]:
        raise ValueError(
            f"maps are of shape {tuple(maps.shape)}, features of {tuple(features.shape)}; "
            "give both of one photo, or both of a batch."
        )
    symmetric, root = symmetric_transition(features, radius=radius, beta=beta)
    return walk(maps, symmetric, root, steps=steps, tolerance=tolerance)


def walk(
    maps: Tensor, symmetric: Tensor, root: Tensor, *, steps: int = 256, tolerance: float = 1e-6
) -> Tensor:
    """Walk on a transition matrix that is built once, for several maps.

    Args:
        maps: Scores (…, K, H, W), of the photos that S is of.
        symmetric: S, as `symmetric_transition` builds it.
        root: D^1/2, in the same shape.
        steps: t; 0 leaves the maps as they are.
        tolerance: Bound of the error, relative to the maps' scale.

    Returns:
        (…, K, H, W) float32.

    Raises:
        ValueError: If steps is negative.
    """
    return walk_many(maps, symmetric, root, steps=[steps], tolerance=tolerance)[0]


def walk_many(
    maps: Tensor,
    symmetric: Tensor,
    root: Tensor,
    *,
    steps: Sequence[int],
    tolerance: float = 1e-6,
) -> Tensor:
    """Walk for several numbers of steps at the cost of the largest: they share the recurrence.

    Args:
        maps: Scores (…, K, H, W), of the photos that S is of.
        symmetric: S, as `symmetric_transition` builds it.
        root: D^1/2, in the same shape.
        steps: One or more t, in any order.
        tolerance: Bound of the error, relative to the maps' scale.

    Returns:
        (len(steps), …, K, H, W) float32.

    Raises:
        ValueError: If one of the steps is negative.
    """
    if min(steps) < 0:
        raise ValueError(f"steps is {min(steps)}; it must be 0 or more.")
    expansions = [chebyshev_power(t, tolerance).tolist() for t in steps]
    terms = max(map(len, expansions))
    planes_last = maps.double().movedim(-3, -1)
    scores = planes_last.reshape(-1, planes_last.shape[-1])
    # Chebyshev recurrence: T_0 = 1, T_1 = x, T_j+1 = 2 x T_j - T_j-1
    previous = scores * root
    results = [coefficients[0] * previous for coefficients in expansions]
    current = symmetric @ previous
    for j in range(1, terms):
        for result, coefficients in zip(results, expansions, strict=True):
            if j < len(coefficients) and coefficients[j]:
                result += coefficients[j] * current
        if j + 1 < terms:
            previous, current = current, 2 * (symmetric @ current) - previous
    walked = [(result / root).view(planes_last.shape).movedim(-1, -3) for result in results]
    return torch.stack(walked).float().contiguous()


def symmetric_transition(
    features: Tensor, *, radius: int = 5, beta: float = 8.0
) -> tuple[Tensor, Tensor]:
    """Build S = D^-1/2 W^(beta) D^-1/2, over all neighbours and each pixel itself.

    Args:
        features: (C, H, W), or (N, C, H, W).
        radius: Of the neighbourhood.
        beta: Exponent of the affinities.

    Returns:
        S and D^1/2, see `transition_from_affinities`.
    """
    batch = features.reshape(-1, *features.shape[-3:])
    affinities = pair_affinities(batch, radius=radius)
    return transition_from_affinities(affinities, radius=radius, beta=beta)


def transition_from_affinities(
    affinities: Tensor, *, radius: int = 5, beta: float = 8.0
) -> tuple[Tensor, Tensor]:
    """Build S = D^-1/2 W^(beta) D^-1/2 from affinities that are known, for several betas.

    Args:
        affinities: W (P, H, W) in [0, 1], a plane an offset, as `pair_affinities` lays them out;
            of any float type. (N, P, H, W) of a batch.
        radius: Of the neighbourhood that they are of.
        beta: Exponent of the affinities.

    Returns:
        S, sparse CSR (N H W, N H W), the photos' blocks on its diagonal, and D^1/2 (N H W, 1);
        float64, as hundreds of steps add up what single precision rounds. The affinities
        themselves may be coarser: T stays stochastic.

    Raises:
        ValueError: If the affinities are of another neighbourhood.
    """
    planes, height, width = affinities.shape[-3:]
    if planes != len(neighbourhood(radius)):
        raise ValueError(
            f"affinities have {planes} planes, the neighbourhood of radius {radius} has "
            f"{len(neighbourhood(radius))} offsets; give the radius that they were computed with."
        )
    cells = height * width
    weights = affinities.double().reshape(-1, planes, height, width) ** beta
    photos, device = len(weights), weights.device
    table = _table(weights, radius)
    root = table.sum(dim=1).sqrt().flatten(1)
    places, columns, entries = _entries(height, width, radius, device)
    values = (table.flatten(2) / root[:, None]).flatten(1).index_select(1, places)
    values /= root.index_select(1, columns)
    rows = torch.zeros(photos * cells + 1, dtype=torch.int32, device=device)
    rows[1:] = entries.repeat(photos).cumsum(dim=0)
    columns = columns + cells * torch.arange(photos, dtype=torch.int32, device=device)[:, None]
    size = (photos * cells, photos * cells)
    # 32-bit indices are what MKL multiplies with; others are converted for each product.
    matrix = torch.sparse_csr_tensor(
        rows, columns.flatten(), values.flatten(), size, check_invariants=False
    )
    return matrix, root.view(-1, 1)


def _table(weights: Tensor, radius: int) -> Tensor:
    """Lay out the values of pairs (N, P, H, W) by pixels: (N, 2 P + 1, H, W), 1 for themselves.

    There is a plane for each neighbour of a pixel in reading order: before it, itself, after it. So
    a pixel's entries are a row of the matrix, sorted already.
    """
    photos, planes, height, width = weights.shape
    table = weights.new_zeros(photos, 2 * planes + 1, height, width)
    table[:, planes] = 1
    for p, offset in enumerate(neighbourhood(radius), start=1):
        first, second = pair_slices(offset, height, width)
        table[:, planes + p][first] = table[:, planes - p][second] = weights[:, p - 1][first]
    return table


@lru_cache(maxsize=1)
def _entries(
    height: int, width: int, radius: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Find S's entries, row by row; kept, as photos of one shape follow each other.

    Returns:
        Each entry's place in a table of planes (2 P + 1, H W) and its column, int32; the number of
        entries of each row.
    """
    offsets, cells = neighbourhood(radius), height * width
    planes = len(offsets)
    steps = [dy * width + dx for dy, dx in offsets]
    with torch.inference_mode(mode=False):  # the first caller may be in it
        pairs = torch.ones(1, planes, height, width, dtype=torch.bool, device=device)
        inside = _table(pairs, radius)[0]
        shifts = torch.tensor([*(-step for step in reversed(steps)), 0, *steps], device=device)
        present = inside.flatten(1).T
        row, plane = present.nonzero(as_tuple=True)
        places, columns = plane * cells + row, row + shifts[plane]
        return places.int(), columns.int(), present.sum(dim=1)


def chebyshev_power(steps: int, tolerance: float) -> npt.NDArray[np.float64]:
    """Expand x^t on [-1, 1] in Chebyshev polynomials, as far as the tolerance asks for.

    x^t = sum_j c_j T_j(x), where c_j is the chance of a symmetric walk of t steps to end at
    distance j: binomial, and zero unless j and t are both even or both odd.

    Args:
        steps: t, 0 or more.
        tolerance: Bound of the sum of the coefficients that are left out.

    Returns:
        c_0, c_1, …; at most t + 1 of them.
    """
    distance = np.arange(steps + 1)
    chance = np.where(
        (steps - distance) % 2 == 0, stats.binom.pmf((steps - distance) // 2, steps, 0.5), 0.0
    )
    coefficients = np.where(distance == 0, chance, 2 * chance)
    dropped = coefficients[::-1].cumsum()[::-1]  # by leaving out c_j and all after it
    kept = max(1, int((dropped > tolerance).sum()))
    return coefficients[:kept]
