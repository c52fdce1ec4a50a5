"""Calls of an engine with legal inputs that ended in an error, as stored in a report's `measured` half."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from advcal_edge.report.value import Value


@dataclass(frozen=True, slots=True)
class Raised:
    """How many calls ended in an error; the shape of the first such batch, and what the engine said."""

    calls: int = 0
    shape: tuple[int, ...] = ()
    message: str = ""

    def __add__(self, other: Raised) -> Raised:
        """Both together; the first error remains the first."""
        first = self if self.calls else other
        return replace(first, calls=self.calls + other.calls)

    def __str__(self) -> str:
        first = f"; the first with a batch {self.shape}: {self.message}" if self.calls else ""
        return f"calls of the engine with legal inputs that ended in an error{first}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.raised`."""
        return {"calls": self.calls, "shape": list(self.shape), "message": self.message}

    @classmethod
    def read(cls, value: Value) -> Raised:
        """Read what `to_json` wrote about at least one call."""
        value.only("calls", "shape", "message")
        calls = value["calls"].integer()
        if not calls:
            raise value["calls"].expected("at least 1")
        return cls(calls, tuple(size.integer() for size in value["shape"].items()), value["message"].text())


NOTHING_RAISED = Raised()
