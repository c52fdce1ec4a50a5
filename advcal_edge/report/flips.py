"""Which samples only one side gets right, and what found them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 10  # rows before the rest is folded away


@dataclass(frozen=True, slots=True)
class FlipRow:
    """One sample and one comparison."""

    sample: int
    truth: str
    comparison: str
    lost_on: str
    route: str  # empty where the clean input was enough
    attack: str
    crafted_on: str
    near_tie: bool
    pictured: bool


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows to show, rows to fold, and how many there are by comparison and side."""

    shown: Sequence[FlipRow]
    folded: Sequence[FlipRow]
    counts: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Flips:
        """Rows of a report: lost on the engine first, within that as the report has them."""
        near, pictured = set(report["drift"]["near_tie_samples"]), {item["sample"] for item in report["gallery"]}
        rows = [flip_row(item, near, pictured) for item in report["flips"]]
        rows.sort(key=lambda row: row.lost_on != "engine")
        shown = len(rows) if len(rows) <= SHOWN + 2 else SHOWN
        return cls(rows[:shown], rows[shown:], Counter((row.comparison, row.lost_on) for row in rows))


def flip_row(item: Mapping[str, Any], near: set[int], pictured: set[int]) -> FlipRow:
    """One entry of `flips`; `found_by` is `ROUTE: ATTACK, crafted on SIDE` or null."""
    route, attack, crafted_on = "", "", ""
    if item["found_by"] is not None:
        route, _, rest = item["found_by"].partition(": ")
        attack, _, crafted_on = rest.rpartition(", crafted on ")
    sample = int(item["sample"])
    return FlipRow(
        sample,
        item["truth"],
        item["comparison"],
        item["lost_on"],
        route,
        attack,
        crafted_on,
        sample in near,
        sample in pictured,
    )
