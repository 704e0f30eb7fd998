"""Errors that a user can correct: reported in plain words, without a traceback."""

from collections.abc import Iterator
from errno import EDQUOT, ENOSPC

import click

FULL = ("No space left on device", "disk is full", "Disk quota exceeded")
"""What libraries write that keep no error number: torch, SQLite."""


class UserError(click.ClickException):
    """What was wrong, in which file or parameter, and what to do about it.

    Kedro's command line prints only the message and exits with status 1.
    """

    def __str__(self) -> str:
        return self.message


class InterruptedRunError(UserError):
    """Someone pressed Ctrl-C."""

    exit_code = 130


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
