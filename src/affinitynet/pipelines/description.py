"""Description of a run for the title of a page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

VERSION = "%Y-%m-%dT%H.%M.%S.%fZ"
"""Format of a version: the start of a run, as Kedro writes it."""


@dataclass(frozen=True)
class RunDescription:
    """The run, its data set, and its parameters that are not the default ones.

    Attributes:
        version: The run's; empty outside a run.
        env: Configuration environment.
        data_set: Where the photos come from, in a few words.
        given: Parameters of the command line, flat.
        configured: Other parameters that differ from the base environment's, flat.
    """

    version: str = ""
    env: str = "base"
    data_set: str = ""
    given: dict[str, Any] = field(default_factory=dict)
    configured: dict[str, Any] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """When the run began, for people."""
        if not self.version:
            return ""
        start = datetime.strptime(self.version, VERSION).replace(tzinfo=UTC)
        return f"{start:%Y-%m-%d %H:%M} UTC"
