"""Parameters of the stages' own work, and their ranges."""

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.ranges import (
    FilePath,
    NonNegativeInt,
    OneOrMore,
    OpenProbability,
    Positive,
    PositiveInt,
    Probability,
    parameters,
)
from affinitynet.networks.parameters import FeatureParameters

Radius = Annotated[PositiveInt, Ge(2)]
"""Pairs of cells closer than this are compared: below 2 there are none."""

Auto = Literal["auto"]
"""Chosen from the photos and their tags, see `affinitynet.core.separation`."""
AUTO: Auto = "auto"


class WalkSetting(NamedTuple):
    """The values of the random walk that may be chosen, or searched."""

    alpha: float
    beta: float
    steps: int


WALK = WalkSetting._fields

APART = 2.4
"""The paper's exponents of stage 2, 4 and 24, lie this factor apart from their middle."""


@parameters
class Vote:
    """Regions that vote on the labels of their pixels, see `affinitynet.core.segments`.

    Attributes:
        segments: `slic`, a folder of images of the regions, or None for no vote.
        threshold: Share of a region's pixels that must agree.
        superpixels: About how many SLIC makes of a photo.
        compactness: SLIC's.
    """

    segments: FilePath | None = None
    threshold: Probability = 0.5
    superpixels: PositiveInt = 400
    compactness: Positive = 10.0


@parameters
class Refinement:
    """How pseudo labels are made of the walk: regions may vote, and the dense CRF has the end.

    Attributes:
        vote: Of regions, on the walk's labels.
        crf: The dense CRF.
        confidence: Probability that the unary gives to the walk's label.
        long_side: Working size in pixels; None for the photo's own size.
    """

    vote: Vote
    crf: CRFParameters
    confidence: OpenProbability
    long_side: PositiveInt | None


@parameters
class Alphas:
    """Exponents of the background (eq. 2): a low one makes it strong."""

    low: Positive
    high: Positive

    def __post_init__(self) -> None:
        _check_order(self.low, self.high)


@parameters
class AutoAlphas:
    """`Alphas` that may be chosen from the data."""

    low: Positive | Auto
    high: Positive | Auto

    def __post_init__(self) -> None:
        if self.low != AUTO and self.high != AUTO:
            _check_order(self.low, self.high)

    @property
    def is_auto(self) -> bool:
        """Whether anything is to be chosen."""
        return AUTO in (self.low, self.high)

    def around(self, middle: float) -> Alphas:
        """Take what is not given from around the exponent that divides photos best."""
        low = middle / APART if self.low == AUTO else self.low
        high = middle * APART if self.high == AUTO else self.high
        return Alphas(low=min(low, high), high=max(low, high))


def _check_order(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low is {low:g}, above high, {high:g}; swap them")


@parameters
class RandomWalk(FeatureParameters):
    """The random walk, and how AffinityNet computes its features.

    Attributes:
        alpha: Exponent of the background, eq. 2.
        beta: Exponent of the affinities.
        steps: t.
        radius: Of the neighbourhood.
    """

    alpha: Positive
    beta: Positive
    steps: NonNegativeInt
    radius: Radius

    @property
    def setting(self) -> WalkSetting:
        """The values that may be chosen."""
        return WalkSetting(self.alpha, self.beta, self.steps)


@parameters
class AutoRandomWalk(FeatureParameters):
    """`RandomWalk`, of which `alpha`, `beta` and `steps` may be chosen from the data.

    Attributes:
        compared: Photos that settings are tried on, at most; None for all.
        averaged: The maps are the mean of the walks at so many settings, the best.
    """

    alpha: Positive | Auto
    beta: Positive | Auto
    steps: NonNegativeInt | Auto
    radius: Radius
    compared: PositiveInt | None = None
    averaged: PositiveInt = 1

    def resolve(self, chosen: Mapping[str, float]) -> RandomWalk:
        """Take what is not given from `chosen`, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(RandomWalk)}
        return RandomWalk(**given | {i: chosen[i] for i in WALK if given[i] == AUTO})


@parameters
class WalkSpace:
    """Values of the random walk's parameters to try, in every combination."""

    alpha: OneOrMore[Positive]
    beta: OneOrMore[Positive]
    steps: OneOrMore[NonNegativeInt]

    def settings(self) -> list[WalkSetting]:
        """List the settings of the grid, beta slowest, steps fastest."""
        grid = product(self.beta, self.alpha, self.steps)
        return [WalkSetting(alpha, beta, steps) for beta, alpha, steps in grid]

    def keep_given(self, walk: AutoRandomWalk) -> "WalkSpace":
        """Leave of each parameter that is given only its value."""
        values = vars(self).items()
        return WalkSpace(
            **{
                name: those if getattr(walk, name) == AUTO else (getattr(walk, name),)
                for name, those in values
            }
        )
