"""Whether tags and masks speak of the same things, and which numbering makes them agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy

from affinitynet.core.label_maps import IGNORE_INDEX, Classes
from affinitynet.errors import name_some

MIN_PHOTOS = 3
"""Photos below which a disagreement is no system."""
CLEAR = 0.4
"""Difference of two overlaps (intersection over union of photos) that is no chance."""
MOST = 0.5
"""Share of the photos; where tags and masks differ on more of them, it is a system …"""
MUCH = 0.25
"""… if on more than this share a tag is not in the mask. Masks may well show more than tags say."""
MAX_FILLED = 30
"""Mask values that are named for those behind them; for more, the masks are to be numbered."""


@dataclass(frozen=True)
class Agreement:
    """How tags and masks compare: problems, which stop the run, and warnings."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare(
    tags: Mapping[str, Sequence[str]],
    shown: Mapping[str, Sequence[int]],
    classes: Classes,
    mask_classes: Sequence[str],
    parameter: str,
) -> Agreement:
    """Compare the tags of photos with the values in their masks.

    A class and a value agree as far as they are found on the same photos. Where another value
    agrees clearly better with a class than its own, the masks are numbered otherwise.

    Args:
        tags: Photo id to its tags, of the photos that have masks.
        shown: Photo id to the values in its mask, 0 and 255 apart.
        mask_classes: Names of the mask values 1, 2, ….
        parameter: That sets `mask_classes`, for messages.
    """
    ids = [image_id for image_id in shown if image_id in tags]
    names = list(classes)
    values = np.arange(1, IGNORE_INDEX)
    tagged = np.array([[name in tags[i] for name in names] for i in ids], bool)
    masked = np.zeros((len(ids), IGNORE_INDEX), bool)
    for row, image_id in enumerate(ids):
        masked[row, [value for value in shown[image_id] if 0 < value < IGNORE_INDEX]] = True
    if not ids or not names:
        return Agreement()
    uses = tagged.sum(axis=0)
    both = tagged.astype(float).T @ masked[:, 1:]
    either = uses[:, None] + masked[:, 1:].sum(axis=0) - both
    overlap = both / np.maximum(either, 1)  # intersection over union of photos
    own = np.array([classes[name] for name in names])
    now = overlap[np.arange(len(names)), own - 1]
    nudge = np.zeros_like(overlap)  # of two values that agree as well, the own one
    nudge[np.arange(len(names)), own - 1] = 1e-6
    rows, columns = scipy.optimize.linear_sum_assignment(-(overlap + nudge))
    likely = np.zeros(len(names), int)
    likely[rows] = values[columns]
    best = overlap[rows, columns]
    moved = (best - now > CLEAR) & (uses > 1)
    is_moved = (tagged & moved).any(axis=1).sum() >= MIN_PHOTOS
    count = tagged.any(axis=1).sum()
    if not is_moved and count >= MIN_PHOTOS and not (tagged & masked[:, own]).any():
        seen = sorted({int(value) for value in np.flatnonzero(masked.any(axis=0))})
        return Agreement(
            [
                f"the masks of all {count} tagged photos show none of the classes that the "
                "photos are tagged with; their values are "
                f"{', '.join(map(str, seen)) or 'only 0 and 255'} and mean "
                f"{', '.join(f'{v} {n}' for n, v in classes.items())} (parameter "
                f"{parameter} names them in their order)"
            ]
        )
    differ = (tagged != masked[:, own]).any(axis=1).mean() > MOST
    lacking = (tagged & ~masked[:, own]).any(axis=1)
    much = lacking.sum() >= MIN_PHOTOS and lacking.mean() > MUCH
    # pseudo labels that lack objects are no system: they show nothing that the tags do not name
    others = masked[:, 1:].copy()
    others[:, own - 1] &= ~tagged
    foreign = others.any(axis=1).mean() > MUCH
    if is_moved or (differ and much and foreign):
        match = _Match(names, own, likely, best)
        table = _propose(match, masked, mask_classes)
        everywhere = {*np.flatnonzero(masked.all(axis=0)).tolist()}
        has_background = everywhere <= {*likely[best > 0].tolist()}  # else it has a number
        return Agreement(
            [_describe(match, len(ids), uses, moved, table, parameter, has_background)]
        )
    return Agreement(warnings=_list_differences(ids, names, tagged, masked[:, own]))


def binary_of_many(num_classes: int) -> str:
    """Say that masks of object and background are of several classes."""
    return (
        f"the masks have the values 0 and 255 only, but there are {num_classes} classes: "
        "write the classes' values into them, or learn one class with classes=<name>"
    )


@dataclass(frozen=True)
class _Match:
    """How the K classes and the values in the masks agree.

    Attributes:
        names: Of the classes.
        own: (K,) the value that each class should have.
        likely: (K,) the value that agrees best with it.
        best: (K,) that agreement.
    """

    names: list[str]
    own: npt.NDArray[np.int_]
    likely: npt.NDArray[np.int_]
    best: npt.NDArray[np.float64]


def _propose(
    match: _Match, masked: npt.NDArray[np.bool_], mask_classes: Sequence[str]
) -> list[str]:
    """Name the mask values so that tags and masks agree as well as they can."""
    names, likely, best = match.names, match.likely, match.best
    found = {int(value): name for name, value, how in zip(names, likely, best, strict=True) if how}
    free = [name for name in names if name not in found.values()]
    others = [name for name in mask_classes if name not in names]
    last = max([len(mask_classes), *found, *np.flatnonzero(masked.any(axis=0))])
    proposed: list[str] = []
    for value in range(1, int(last) + 1):
        named = mask_classes[value - 1] if value <= len(mask_classes) else ""
        if value in found:
            proposed.append(found[value])
        elif named in free or named in others:
            proposed.append(named)
            (free if named in free else others).remove(named)
        else:
            proposed.append("")
    for position, name in enumerate(proposed):
        if not name:
            proposed[position] = free.pop(0) if free else f"value {position + 1}"
    return proposed + free


def _describe(
    match: _Match,
    num_photos: int,
    uses: npt.NDArray[np.int_],
    moved: npt.NDArray[np.bool_],
    proposed: list[str],
    parameter: str,
    has_background: bool,
) -> str:
    names, own, likely, best = match.names, match.own, match.likely, match.best
    width = max(len(name) for name in ["class", *names])
    lines = [
        f"    {'class':<{width}}  photos  its mask value  value in the masks  agreement",
        *(
            f"    {name:<{width}}  {uses[k]:>6}  {own[k]:>15}  "
            f"{(likely[k] if best[k] else '-'):>18}  {best[k]:>9.0%}{'  *' if moved[k] else ''}"
            for k, name in enumerate(names)
        ),
    ]
    if (
        not has_background
        or (best == 0).any()
        or sum(name.startswith("value ") for name in proposed) > MAX_FILLED
    ):
        remedy = "write 0 for the background into the masks, and for the classes " + ", ".join(
            f"{value} {name}" for name, value in zip(names, own, strict=True)
        )
    else:
        remedy = f'if this is right, give --params "{parameter}={";".join(proposed)}"'
    return (
        f"tags and masks disagree on {num_photos} photos that have both: the values of the masks "
        "are not numbered as the classes are. Where each class is seen in the masks:\n"
        + "\n".join(lines)
        + f"\n    {remedy}"
    )


def _list_differences(
    ids: list[str],
    names: list[str],
    tagged: npt.NDArray[np.bool_],
    masked: npt.NDArray[np.bool_],
) -> list[str]:
    rows = np.flatnonzero((tagged != masked).any(axis=1))
    if not rows.size:
        return []

    def some(flags: npt.NDArray[np.bool_]) -> str:
        return ", ".join(names[k] for k in np.flatnonzero(flags)) or "nothing"

    named = [f"{ids[row]} (tags: {some(tagged[row])}; mask: {some(masked[row])})" for row in rows]
    return [f"tags and masks differ on {len(rows)} of {len(ids)} photos: {name_some(named)}"]
