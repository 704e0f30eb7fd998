"""Draws the photos to evaluate on, so that train and val show each class in the same share."""

import numpy as np
import numpy.typing as npt

MIN_SPLIT = 5
"""Photos of a class from which on near-duplicates may be divided, so that both splits show it."""


def divide_groups(
    tags: npt.NDArray[np.bool_], groups: npt.NDArray[np.integer], share: float
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
    """Divide groups that hold (nearly) all photos, or all of a class, as frames of a camera do.

    Whole, they would leave train or val without. Their photos are cut in their order into pieces
    of the size of val, so that neighbouring frames stay together.

    Args:
        tags: (N, K) the classes that each photo shows; photos without any are a class too.
        groups: (N,) numbers of the photos' groups.
        share: Of val, in (0, 1).

    Returns:
        (N,) the groups with the pieces for groups of their own, and the rows of each divided one.
    """
    kinds = np.column_stack([tags, ~tags.any(axis=1), np.ones(len(tags), bool)])
    totals = kinds.sum(axis=0)
    result = groups.astype(np.int64)
    divided = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        most = kinds[rows].sum(axis=0) > (1 - min(share, 1 - share) / 2) * totals
        if len(rows) > 1 and (most[-1] or (most & (totals >= MIN_SPLIT)).any()):
            pieces = min(len(rows), max(2, round(1 / min(share, 1 - share))))
            result[rows] = result.max() + 1 + np.arange(len(rows)) * pieces // len(rows)
            divided.append(rows)
    return result, divided


def draw_val(
    tags: npt.NDArray[np.bool_], groups: npt.NDArray[np.integer], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Draw val by iterative stratification (Sechidis, Tsoumakas & Vlahavas, 2011).

    Photos of one group stay together. The arguments are those of `divide_groups`.

    Returns:
        (N,) true for val.
    """
    names, group_of_photo = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), tags.shape[1] + 1), int)
    np.add.at(counts, group_of_photo, np.column_stack([tags, ~tags.any(axis=1)]).astype(int))
    sizes = np.bincount(group_of_photo)
    # what each side still lacks: of each class, and of photos
    shares = np.array([1 - share, share])
    lacking = shares[:, None] * counts.sum(axis=0)
    room = shares * len(tags)
    order = np.random.default_rng(seed).permutation(len(names))
    left = np.ones(len(names), bool)
    val = np.zeros(len(names), bool)
    while left.any():
        remaining = counts[left].sum(axis=0)
        rarest = int(np.where(remaining > 0, remaining, np.inf).argmin())
        for group in order[left[order] & (counts[order, rarest] > 0)]:
            wanting = lacking[:, rarest]
            side = int(wanting.argmax() if wanting[0] != wanting[1] else room.argmax())
            val[group], left[group] = side == 1, False
            lacking[side] -= counts[group]
            room[side] -= sizes[group]
    return val[group_of_photo]
