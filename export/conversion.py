"""Conversion of the fp32 forward graph to a reduced precision; `advcal_edge.precision` names each conversion."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from advcal_edge.precision import PRECISIONS
from advcal_edge.registry import choose, load


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on one measure of fidelity, and the reason for its value."""

    measure: str
    bound: float
    reason: str
    lower: bool = False

    def holds(self, value: float) -> bool:
        """Is `value` within the limit? NaN never is."""
        return value >= self.bound if self.lower else value <= self.bound


class Convert(Protocol):
    """Reads the fp32 graph at `source` and writes `target`.

    `calibration` reads real samples (n, *spec.shape). `further` names parts of the policy or single nodes that also
    stay fp32, at a `step` of the precision fallback.
    """

    def __call__(
        self,
        source: Path,
        target: Path,
        calibration: Callable[[], NDArray[np.float32]],
        further: Collection[str],
        step: str | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Conversion:
    """A precision's converter, the limits of its graphs, and an emulation for machines that cannot run them."""

    convert: Convert
    limits: tuple[Limit, ...]
    emulate: Callable[[Path, Path], None] | None = None


def find_conversion(precision: str) -> Conversion:
    """The conversion to a reduced precision; its module is imported on demand.

    Raises:
        ConfigError: no such precision, or its converter cannot be imported.
    """
    conversion: Conversion = load(choose("precision", precision, PRECISIONS).conversion)
    return conversion
