"""One row a cell: a median with its interval, or the reason why there is none."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from advcal_edge.errors import AdvcalError
from advcal_edge.stats import binomial_tail


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured; an empty field, or batch 0, says that it does not apply."""

    part: str
    modality: str
    backend: str
    precision: str
    batch: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Median of repeated measurements and an interval for it that holds for any distribution.

    Its ends are order statistics (David and Nagaraja 2003, section 7.1); `confidence` is what they cover, which is less
    than asked for where there are fewer than six.
    """

    median: float
    low: float
    high: float
    n: int
    confidence: float

    @classmethod
    def of(cls, values: Sequence[float], confidence: float = 0.95) -> Spread:
        """From at least one measurement."""
        ordered, n = sorted(values), len(values)

        def outside(k: int) -> float:  # chance that the median lies below the value with k smaller ones
            return binomial_tail(n - k, n, 0.5)

        k = max(0, bisect_right(range((n + 1) // 2), (1 - confidence) / 2, key=outside) - 1)
        covered = max(0.0, 1 - 2 * outside(k))
        return cls(statistics.median(ordered), ordered[k], ordered[n - 1 - k], n, covered)


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of a cell; `figures` are plain types that belong to its kind."""

    cell: Cell
    unit: str = ""
    value: Spread | None = None
    reason: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        value = None if self.value is None else asdict(self.value)
        return {**asdict(self.cell), "unit": self.unit, "value": value, "reason": self.reason, **self.figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Read what `to_json` wrote."""
        rest = dict(data)
        cell = Cell(*(rest.pop(name) for name in Cell.__slots__))
        unit, value, reason = (rest.pop(name) for name in ("unit", "value", "reason"))
        return cls(cell, unit, None if value is None else Spread(**value), reason, rest)


def attempt(cell: Cell, work: Callable[[Cell], Row]) -> Row:
    """The row of `cell`; whatever goes wrong is its reason."""
    try:
        return work(cell)
    except AdvcalError as error:
        return Row(cell, reason=f"not available: {error.message}")
    except ImportError as error:
        return Row(cell, reason=f"not available: {error}")
    except Exception as error:  # drivers, compilers and runtimes raise anything, and that is the finding
        return Row(cell, reason=f"failed: {type(error).__name__}: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line an exception says, or nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
