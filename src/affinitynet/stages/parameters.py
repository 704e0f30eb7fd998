"""Parameters of the stages' own work, and their ranges."""

from typing import Annotated

from annotated_types import Ge

from affinitynet.core.ranges import NonNegativeInt, Positive, PositiveInt, parameters
from affinitynet.networks.parameters import FeatureParameters

Radius = Annotated[PositiveInt, Ge(2)]
"""Pairs of cells closer than this are compared: below 2 there are none."""


@parameters
class Alphas:
    """Exponents of the background (eq. 2): a low one makes it strong."""

    low: Positive
    high: Positive

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, above high, {self.high:g}; swap them")


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
