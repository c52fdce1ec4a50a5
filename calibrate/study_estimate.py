"""What is left of a study, before it starts: operations of its cells, and hours at a stated speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from advcal_edge.calibrate.study import Cell
from advcal_edge.errors import AdvcalError, DependencyError
from advcal_edge.report.study import CASE
from advcal_edge.report.table import clipped, percent, table

TERA = 1e12


@dataclass(slots=True)
class Part:
    """The cells of one case, or of one encoder and sensor where there are no cases."""

    names: tuple[str, ...]
    """Case if there are cases, encoder, modality."""
    cells: int = 0
    total: float = 0
    """Operations of the cells that could be estimated."""
    training: float = 0
    """Of these, what training takes, with its attacks and what precedes it; the rest measures."""
    unknown: int = 0
    """Cells that could not be estimated."""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "names": list(self.names),
            "cells": self.cells,
            "operations": self.total,
            "training": self.training,
            "unknown": self.unknown,
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """An upper bound of what cells take, see `work.py`."""

    speed: float
    """TFLOP/s that a device sustains."""
    parts: Sequence[Part] = field(default_factory=list)

    @property
    def cells(self) -> int:
        """All cells, estimated or not."""
        return sum(part.cells for part in self.parts)

    @property
    def unknown(self) -> int:
        """Cells that could not be estimated."""
        return sum(part.unknown for part in self.parts)

    @property
    def total(self) -> float:
        """Operations of the cells that could be."""
        return sum(part.total for part in self.parts)

    def seconds(self, operations: float) -> float:
        """On one device."""
        return operations / (self.speed * TERA)

    def __str__(self) -> str:
        known = self.cells - self.unknown
        of = f"{known} of {self.cells}" if self.unknown else str(known)
        return (
            f"about {scientific(self.total)} operations in {of} cell{'s' if self.cells != 1 else ''}:"
            f" {duration(self.seconds(self.total))} on one device at {self.speed:g} TFLOP/s (key `speed` of the file)"
        )

    @property
    def unknowns(self) -> list[str]:
        """A line for each part with cells that could not be estimated, and the first reason."""
        return [
            f"no estimate of {part.unknown} cell{'s' if part.unknown != 1 else ''} of {' '.join(part.names)}:"
            f" {part.reason}"
            for part in self.parts
            if part.unknown
        ]

    def draw(self) -> str:
        """A table of the parts."""
        heading = [*([CASE] if len(self.parts[0].names) == 3 else []), "encoder", "modality"]
        rows = [
            [
                *(clipped(name) for name in part.names),
                str(part.cells),
                scientific(part.total) if part.total else "-",
                duration(self.seconds(part.total)) if part.total else "-",
                percent(part.training / part.total, 0) if part.total else "-",
            ]
            for part in self.parts
        ]
        return table([*heading, "cells", "operations", "time", "training %"], rows)

    def to_json(self) -> dict[str, Any]:
        """Plain types; operations, TFLOP/s and seconds on one device."""
        return {
            "speed": self.speed,
            "cells": self.cells,
            "unknown": self.unknown,
            "operations": self.total,
            "seconds": self.seconds(self.total),
            "parts": [part.to_json() for part in self.parts],
        }


def estimate(cells: Iterable[Cell], speed: float) -> Estimate:
    """The operations of `cells`, part by part; a part that cannot be estimated says why.

    Raises:
        DependencyError: torch is not installed.
    """
    try:
        from advcal_edge.calibrate.work import work_of
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DependencyError("torch", extra="calibrate", purpose="`study`") from error
    parts: dict[tuple[str, ...], Part] = {}
    for cell in cells:
        case = (cell.values[CASE],) if CASE in cell.values else ()
        names = (*case, cell.config.encoder, cell.config.modality)
        part = parts.setdefault(names, Part(names))
        part.cells += 1
        try:
            work = work_of(cell.config)
        except AdvcalError as error:
            part.unknown += 1
            part.reason = part.reason or error.message
            continue
        part.total += work.total
        part.training += work.total - work.measuring
    return Estimate(speed, list(parts.values()))


def scientific(value: float) -> str:
    """Two digits and a power of ten, like `3.2e18`."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is readable."""
    for unit, length in (("second", 90), ("minute", 90 * 60)):
        if seconds < length:
            count = seconds if unit == "second" else seconds / 60
            shown = f"{count:.0f}" if count >= 2 else f"{count:.1g}"
            return f"{shown} {unit}{'' if shown == '1' else 's'}"
    return f"{seconds / 3600:,.{0 if seconds >= 36000 else 1}f} hours"
