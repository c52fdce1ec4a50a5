"""What is seen of one file: facts in groups, and figures of the raw frame and of x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.chart import Chart
from advcal_edge.look.plate import Plate
from advcal_edge.runtime.sensors import Frame
from advcal_edge.spec import Modality
from advcal_edge.threat import ThreatModel

Figure: TypeAlias = Plate | Chart


class Fact(NamedTuple):
    """A property and its value, with units."""

    name: str
    text: str


class Setting(NamedTuple):
    """A setting of the sensor, and who said so."""

    name: str
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as its reader gave it, the frame as the sensor's check returned it, and x of all clips."""

    path: Path
    modality: Modality
    threat: ThreatModel
    stored: Frame
    frame: Frame
    x: NDArray[np.float32]

    @property
    def step(self) -> float:
        """How far one value of x may be moved: the radius, in l2 its share of a value if all move alike."""
        radius = self.threat.radius
        return radius if self.threat.norm == "linf" else radius / float(np.sqrt(self.x[0].size))


@dataclass(frozen=True, slots=True)
class View:
    """What the view of a sensor adds: its facts, its figures, and what a step of x is to the sensor."""

    read: Sequence[Fact]
    measured: Sequence[Fact]
    fitted: Sequence[Fact]
    raw: Sequence[Figure]
    x: Sequence[Figure]
    meaning: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file is not read, and what to do."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Sight:
    """All of one file; of a refused one only what was known before."""

    path: Path
    modality: Modality
    threat: ThreatModel
    read: Sequence[Fact]
    settings: Sequence[Setting]
    measured: Sequence[Fact] = ()
    fitted: Sequence[Fact] = ()
    encoder: Sequence[Fact] = ()
    raw: Sequence[Figure] = ()
    x: Sequence[Figure] = ()
    histograms: Sequence[Chart] = ()
    refusal: Refusal | None = None

    def understood(self) -> list[tuple[str, Sequence[Fact | Setting]]]:
        """Facts about the file and the sensor's frame, under their headings."""
        return _filled(("Read", self.read), ("Measured", self.measured), ("Settings", self.settings))

    def given(self) -> list[tuple[str, Sequence[Fact | Setting]]]:
        """Facts about what the encoder gets, under their headings."""
        return _filled(("Fitted", self.fitted), ("x", self.encoder))

    def to_json(self) -> dict[str, Any]:
        """Plain types for `--json`."""
        refused = None if self.refusal is None else {"message": self.refusal.message, "hint": self.refusal.hint}
        return {
            "file": str(self.path),
            "refused": refused,
            "read": dict(self.read),
            "measured": dict(self.measured),
            "settings": {name: {"value": text, "origin": origin} for name, text, origin in self.settings},
            "fitted": dict(self.fitted),
            "x": dict(self.encoder),
        }


def _filled(*groups: tuple[str, Sequence[Fact | Setting]]) -> list[tuple[str, Sequence[Fact | Setting]]]:
    return [(heading, facts) for heading, facts in groups if facts]
