"""One row a figure: what, against whom, the median with its interval, the goal, and whether it is met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gpu_bench.rows import Spread

from advcal_edge.report.table import table

HEADER = ("what", "against", "figure", "95 %", "unit", "n", "goal", "met", "note")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be: from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, figure: float) -> bool:
        """Whether a figure is in the range."""
        return bool(self.low <= figure <= self.high)

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure; its median decides about the goal, where there is one."""

    what: str
    against: str
    unit: str
    value: Spread
    goal: Goal | None = None
    note: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.goal.holds(self.value.median)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        told = {"what": self.what, "against": self.against, "unit": self.unit, "value": asdict(self.value)}
        goal = None if self.goal is None else str(self.goal)
        return {**told, "goal": goal, "met": self.met, "note": self.note, **self.figures}


def draw(rows: Sequence[Row]) -> str:
    """The table."""
    return table(HEADER, [line(row) for row in rows])


def line(row: Row) -> list[str]:
    """One line of it."""
    value, met = row.value, {None: "", True: "yes", False: "NO"}[row.met]
    interval = f"{value.low:.3f} to {value.high:.3f}" if value.n > 1 else ""
    goal = "" if row.goal is None else str(row.goal)
    return [row.what, row.against, f"{value.median:.3f}", interval, row.unit, str(value.n), goal, met, row.note]
