"""How the node is: a level, the reason, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from advcal_edge.errors import AdvcalError


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is said at once a second; `mend` is empty where nothing needs to be mended."""

    level: Level
    reason: str
    mend: str = ""

    @classmethod
    def of_error(cls, error: AdvcalError, level: Level = Level.ERROR) -> Diagnosis:
        """The error as it is told on the command line."""
        return cls(level, error.message, error.hint or "")

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {"level": self.level.name, "reason": self.reason, "mend": self.mend}

    def __str__(self) -> str:
        return f"{self.reason}; to mend it: {self.mend}" if self.mend else self.reason
