"""Semantic affinities between neighbouring pixels: pairs and loss (paper, section 3.2).

Pairs are laid out as planes: offset p = (dy, dx) of the neighbourhood gives a plane (H, W) whose
entry at (y, x) belongs to the pair of (y, x) and (y + dy, x + dx). No copies of features are
gathered by pair.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def neighbourhood(radius: int) -> list[tuple[int, int]]:
    """List the offsets of half a disc, so that each pair of pixels occurs once.

    Args:
        radius: Pixels closer than this, in grid cells, are neighbours (5 in the paper).

    Returns:
        Offsets (dy, dx) with dy >= 0; 34 for radius 5.
    """
    return [
        (dy, dx)
        for dy in range(radius)
        for dx in range(1 - radius, radius)
        if (dy > 0 or dx > 0) and dy**2 + dx**2 < radius**2
    ]


def pair_slices(offset: tuple[int, int], height: int, width: int) -> tuple[Any, Any]:
    """Return the index of all first and all second pixels of an offset's pairs in (…, H, W)."""
    dy, dx = offset
    rows, columns = max(height - dy, 0), max(width - abs(dx), 0)
    left, right = max(-dx, 0), max(dx, 0)
    first = (..., slice(0, rows), slice(left, left + columns))
    second = (..., slice(dy, dy + rows), slice(right, right + columns))
    return first, second


def pair_affinities(features: Tensor, *, radius: int = 5) -> Tensor:
    """Compute W_ij = exp(-mean_c |f_i - f_j|) of all neighbours (section 3.2).

    The mean over channels is the authors' release's; the paper writes the sum.

    Args:
        features: (N, C, H, W).
        radius: Of the neighbourhood.

    Returns:
        (N, P, H, W) in [0, 1], differentiable, in single precision at least; pairs that leave the
        image are 0.
    """
    distances: Tensor = _PairDistances.apply(features, radius)
    inside = torch.zeros(distances.shape[1:], dtype=torch.bool, device=features.device)
    for plane, offset in zip(inside, neighbourhood(radius), strict=True):
        plane[pair_slices(offset, *plane.shape)[0]] = True
    return torch.exp(-distances) * inside


class _PairDistances(torch.autograd.Function):
    """mean_c |f_i - f_j| by plane; the backward pass recomputes the differences' signs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(features)
        ctx.radius = radius
        n, _, height, width = features.shape
        dtype = torch.promote_types(features.dtype, torch.float32)
        offsets = neighbourhood(radius)
        distances = torch.zeros(n, len(offsets), height, width, dtype=dtype, device=features.device)
        for p, offset in enumerate(offsets):
            first, second = pair_slices(offset, height, width)
            distances[:, p][first] = (
                (features[first] - features[second]).abs_().mean(dim=1, dtype=dtype)
            )
        return distances

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        gradient = gradients[0] / features.shape[1]
        result = torch.zeros_like(features, dtype=gradient.dtype)
        for p, offset in enumerate(neighbourhood(ctx.radius)):
            first, second = pair_slices(offset, *features.shape[-2:])
            signs, shares = (features[first] - features[second]).sign_(), gradient[:, p][first]
            result[first].addcmul_(signs, shares[:, None])
            result[second].addcmul_(signs, shares[:, None], value=-1)
        return result.to(features.dtype), None


def affinity_loss(
    features: Tensor,
    labels: Tensor,
    *,
    radius: int = 5,
    ignore_index: int = 255,
    all_reduce_sum: Callable[[Tensor], Tensor] = lambda counts: counts,
) -> Tensor:
    """Compute the class-balanced loss (L_fg+ + L_bg+ + 2 L-) / 4 (section 3.2.2).

    Each term is the mean over its pairs: -log W for two pixels of the same class (fg+) or both of
    background (bg+), -log (1 - W) for pixels of different labels. A term without pairs is 0.

    Args:
        features: (N, C, H, W).
        labels: (N, H, W) integers, 0 for background; pairs with `ignore_index` do not count.
        radius: Of the neighbourhood.
        ignore_index: Label of neutral pixels.
        all_reduce_sum: Maps the numbers of pairs (3,) here to those of the whole batch, where this
            is a part of it; the losses of the parts then add up to the batch's.

    Returns:
        Scalar, 0 or more.

    Raises:
        ValueError: If the labels are not on the features' grid.
    """
    if labels.shape != (len(features), *features.shape[-2:]):
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}, features {tuple(features.shape)}; "
            "resize the labels to the features' grid."
        )
    distances: Tensor = _PairDistances.apply(features, radius)
    height, width = labels.shape[-2:]
    same_class = torch.zeros_like(distances, dtype=torch.bool)
    both_background, different = torch.zeros_like(same_class), torch.zeros_like(same_class)
    for p, offset in enumerate(neighbourhood(radius)):
        first, second = pair_slices(offset, height, width)
        one, other = labels[first], labels[second]
        known = (one != ignore_index) & (other != ignore_index)
        same_class[:, p][first] = known & (one == other) & (one != 0)
        both_background[:, p][first] = known & (one == other) & (one == 0)
        different[:, p][first] = known & (one != other)
    # -log(1 - exp(-d)), finite also where two features agree
    repulsion = -torch.log(-torch.expm1(-distances.clamp_min(1e-5)))
    terms = ((distances, same_class), (distances, both_background), (repulsion, different))
    counts = all_reduce_sum(torch.stack([chosen.sum() for _, chosen in terms])).clamp_min(1)
    sums = torch.stack([(values * chosen).sum() for values, chosen in terms])
    attraction, background, rest = sums / counts
    loss: Tensor = (attraction + background + 2 * rest) / 4
    return loss
