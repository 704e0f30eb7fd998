"""Errors that a user can correct: reported in plain words, without a traceback."""

from collections.abc import Iterator, Mapping, Sequence
from errno import EDQUOT, ENOSPC

import click

FULL = ("No space left on device", "disk is full", "Disk quota exceeded")
"""Messages of libraries that keep no error number: torch, SQLite."""


MAX_NAMED = 5
"""Images in a line of a message."""
MAX_LINES = 100
"""Lines of a message; the rest is counted."""


class UserError(click.ClickException):
    """An error of the user: what was wrong, in which file or parameter, and what to do.

    Kedro's command line prints only the message and exits with status 1.
    """

    def __str__(self) -> str:
        return self.message


class InterruptedRunError(UserError):
    """Someone pressed Ctrl-C."""

    exit_code = 130


def list_problems(problems: Mapping[str, Sequence[str]]) -> str:
    """Write what is wrong with images as lines of a message.

    Args:
        problems: The ids of the images of each problem.
    """
    return join_lines([*name_together(problems)])


def name_together(problems: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Name each problem once for all its images."""
    for line, ids in problems.items():
        yield f"{name_some(ids)}: {line}"


def name_some(names: Sequence[str], separator: str = ", ") -> str:
    """Name the first `MAX_NAMED`, and count the others."""
    more = len(names) - MAX_NAMED
    return separator.join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def join_lines(lines: Sequence[str], most: int = MAX_LINES) -> str:
    """Write lines below a title, those beyond `most` as their number."""
    left = len(lines) - most
    listed = "".join(f"\n  {line}" for line in lines[:most])
    return listed + (f"\n  … and {left} more" if left > 0 else "")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, is that of a full disk."""
    return any(
        (isinstance(each, OSError) and each.errno in (ENOSPC, EDQUOT))
        or any(text in str(each) for text in FULL)
        for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
