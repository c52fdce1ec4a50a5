"""Geometry of the plots of a sequential test: evidence for a pass and for a fail against the number of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.report.plots import Axis, path

LEFT, RIGHT = 9.0, 97.0  # percent of the width
TOP, HEIGHT = 22, 190  # pixels
FLOOR, CEILING = -3.0, 6.0  # decimal logarithms; evidence beyond them is drawn here: more would hide where it decided


@dataclass(frozen=True, slots=True)
class PathPlot:
    """One comparison: vertical positions are percent of the height, from the top."""

    name: str
    found: Mapping[str, Any]
    passing: str
    failing: str
    """SVG paths of both capitals, from 1 at no samples."""
    x_ticks: Sequence[tuple[float, float]]
    y_ticks: Sequence[tuple[float, str]]
    threshold: float
    decided: float | None
    """Horizontal position of the look that decided."""
    top: int = TOP
    height: int = HEIGHT

    @classmethod
    def of(cls, name: str, found: Mapping[str, Any], level: float) -> PathPlot:
        """Lay out one entry of `derived.sequential.paths`.

        Raises:
            ValueError: no looks.
        """
        enough = -math.log10(level)
        curves = {side: [0.0, *map(shown, found[side])] for side in ("passing", "failing")}
        n = [0, *(int(count) for count in found["n"])]
        x = Axis(0, max(n), LEFT, RIGHT)
        low, high = min(-1.0, *curves["passing"], *curves["failing"]), max(*curves["passing"], *curves["failing"])
        y = Axis(math.floor(low), max(high, min(enough, CEILING)) + 0.4, 100, 0)
        lines = {
            side: path([(x.at(a), y.at(b)) for a, b in zip(n, curve, strict=True)]) for side, curve in curves.items()
        }
        return cls(
            name,
            found,
            lines["passing"],
            lines["failing"],
            [(x.at(tick), tick) for tick in x.ticks(5)],
            [(y.at(power), odds(power)) for power in powers(y)],
            y.at(enough),
            None if found["decided"] is None else x.at(float(found["decided"])),
        )


def paths(sequential: Mapping[str, Any]) -> list[PathPlot]:
    """A plot for each deciding comparison of `derived.sequential`."""
    return [PathPlot.of(name, found, float(sequential["level"])) for name, found in sequential["paths"].items()]


def shown(evidence: float) -> float:
    """Evidence as far as it is drawn."""
    return min(max(float(evidence), FLOOR), CEILING)


def powers(axis: Axis) -> list[int]:
    """Whole decimal logarithms on the axis, reduced to a few; 0 is one of them."""
    every = max(1, math.ceil((axis.high - axis.low) / 6))
    return [k for k in range(math.ceil(axis.low), math.floor(axis.high) + 1) if k % every == 0]


def odds(power: int) -> str:
    """A power of ten as odds, like `10 : 1`."""
    return f"{10**power} : 1" if power >= 0 else f"1 : {10**-power}"
