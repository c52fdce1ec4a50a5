"""What a census finds in an engine: its decisions by value, the paths on which the input enters, its steepest gain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Family = Literal[
    "compare", "logic", "select", "branch", "rank", "index", "round", "chance", "size", "unknown", "path", "steep"
]
"""Kinds of decision; the last two stand for another way of x into the engine, and for a very large gain."""
Zone = Literal["input", "inside"]
"""Before the first product with weights, or after it."""
NAME = 120  # characters of a node's name that are kept
STEEP = 8.0  # times the exporter's own gain; variants of ten encoders have at most 1.05 times (test_census_towers.py)
LEAST = 8.0  # the gain that an exporter's graph counts with at least


@dataclass(frozen=True, slots=True)
class Decision:
    """One node that decides by the values of x, by the batch size, or by chance."""

    family: Family
    zone: Zone
    operator: str
    node: str

    @property
    def kind(self) -> str:
        """What is counted: the family, and whether a product with weights comes before."""
        return f"{self.family} {self.zone}"


@dataclass(frozen=True, slots=True)
class Counts:
    """A census in numbers, which explain another: decisions by kind, paths of the input, and the largest gain."""

    decisions: Mapping[str, int]
    paths: int
    gain: float

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return {"decisions": dict(sorted(self.decisions.items())), "paths": self.paths, "gain": self.gain}


NO_DECISION: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Census:
    """Everything that one graph decides by value."""

    decisions: Sequence[Decision]
    paths: Sequence[Decision] = ()
    """The nodes that read x, or what is only a shifted, scaled or moved copy of it, and compute something of it."""
    gain: float = 1.0
    """The largest factor by which constants amplify a value between two products with weights."""
    steepest: Decision | None = None
    """The node behind which that factor is reached."""

    @property
    def counts(self) -> Counts:
        """How much of each this graph has."""
        return Counts(Counter(item.kind for item in self.decisions), len(self.paths), round(min(self.gain, 1e30), 6))

    def unexplained(self, own: Counts | None) -> Iterator[Decision]:
        """What is not in the exporter's `own` graph as often; without one, every decision."""
        left = Counter(own.decisions if own else NO_DECISION)
        for item in self.decisions:
            if left[item.kind] > 0:
                left[item.kind] -= 1
            else:
                yield item
        if own is None:
            return
        yield from self.paths[own.paths :]
        if self.steepest is not None and self.gain > STEEP * max(own.gain, LEAST):
            yield self.steepest


def shortened(name: str) -> str:
    """A node's name as it is reported: printable, and not longer than `NAME`."""
    plain = "".join(char if char.isprintable() else "?" for char in name)
    return plain if len(plain) <= NAME else f"{plain[: NAME - 3]}..."
