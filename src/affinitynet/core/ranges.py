"""Types and ranges of parameters, to be written beside the fields that they hold for.

Kedro builds a block of parameters from the type hint of the node that takes it.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, ConfigDict, Strict
from pydantic.dataclasses import dataclass

T = TypeVar("T")

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False, defer_build=True)


@dataclass_transform(frozen_default=True)
def parameters(block: type[T]) -> type[T]:
    """Make a frozen dataclass whose values are checked when it is built.

    Example:
        ```python
        @parameters
        class RandomWalk:
            beta: Positive = 8.0
        ```
    """
    return dataclass(frozen=True, config=_CONFIG)(block)  # type: ignore[return-value]


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Number = Annotated[float, Strict()]
"""A float or an integer; neither a bool nor a text of digits."""

NonNegative = Annotated[Number, Ge(0)]
Positive = Annotated[Number, Gt(0)]
Probability = Annotated[Number, Ge(0), Le(1)]
OpenProbability = Annotated[Number, Gt(0), Lt(1)]
"""Between 0 and 1, both excluded."""
Share = Annotated[Number, Ge(0), Lt(1)]
"""Of a whole; less than all of it."""

Index = Annotated[int, Strict()]
NonNegativeInt = Annotated[int, Strict(), Ge(0)]
PositiveInt = Annotated[int, Strict(), Gt(0)]
Seed = Annotated[int, Strict(), Ge(0), Lt(2**32)]
"""Of numpy's and torch's generators."""

OneOrMore = Annotated[tuple[T, ...], MinLen(1)]


class IsPath:
    """Marks a text that names a file or a folder; a relative one begins at the project's folder."""


FilePath = Annotated[str, Strict(), MinLen(1), IsPath()]


def matching(fits: Callable[[str], object], wanted: str) -> AfterValidator:
    """Restrict a text to those that `fits` accepts; `wanted` says which, for messages."""

    def check(value: str) -> str:
        if not fits(value):
            raise ValueError(f"it must be {wanted}")
        return value

    return AfterValidator(check)
