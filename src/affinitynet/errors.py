"""Errors that a user can correct: reported in plain words, without a traceback."""

import click


class UserError(click.ClickException):
    """What was wrong, in which file or parameter, and what to do about it.

    Kedro's command line prints only the message and exits with status 1.
    """

    def __str__(self) -> str:
        return self.message
