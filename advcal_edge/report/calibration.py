"""Is the reference the model that was calibrated? Its embeddings and its figures against those that `calibrate` stored.

A robustness figure is worth what its attacks are worth, and those of another run differ. So clean figures may differ
in neither direction; a worst case may be lower than what the reference shows here, and not higher than it can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError
from advcal_edge.report.checks import RULES, Check, judge_value, limit_text, skip
from advcal_edge.report.results import Flags
from advcal_edge.report.value import Value
from advcal_edge.stats import Interval, wilson

SAME = 0.01  # of clean labels on the same samples; bindlite image, n = 100: torch and its fp32 graph differ in none
STATED = ("clean", "worst")
UNCALIBRATED = "nothing was calibrated, so no figures are stated: the reference is the model that was named"


@dataclass(frozen=True, slots=True)
class Figure:
    """A share as it was stated: `correct` of the first `n` samples."""

    correct: int
    n: int

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval."""
        return wilson(self.correct, self.n)

    @classmethod
    def of(cls, flags: Flags) -> Figure:
        """The share of a measurement (n,)."""
        return cls(int(flags.sum()), len(flags))

    @classmethod
    def read(cls, value: Value) -> Figure:
        """Read one figure of `measured.calibration`."""
        value.only("correct", "n")
        correct, n = value["correct"].integer(), value["n"].integer()
        if not 0 < n >= correct:
            raise value["correct"].expected(f"at most {n} of at least one sample")
        return cls(correct, n)

    def __str__(self) -> str:
        return f"{self.correct} of {self.n}"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What the manifest states of the calibrated model, at which threat model, and what the reference shows there."""

    norm: str
    eps: float
    clean: Figure
    worst: Figure
    attacked: Flags | None
    """Where (m,) the reference withstood an attack at that threat model; None if the attacks of the run answer."""

    @classmethod
    def read(cls, value: Value, n: int) -> Calibration:
        """Read `measured.calibration` of a report on `n` samples."""
        value.only("threat", *STATED, "attacked")
        threat, clean, worst = value["threat"], *(Figure.read(value[name]) for name in STATED)
        attacked = None
        if (found := value["attacked"]).value is not None:
            found.only("attack", "right")
            found["attack"].text()
            attacked = found["right"].flags(min(n, worst.n))
        return cls(threat["norm"].text(), threat["eps"].number(), clean, worst, attacked)

    def answered_by(self, norm: str, eps: float) -> bool:
        """Do attacks of this kind bound the stated worst case? In a smaller ball a model withstands no less."""
        return norm == self.norm and eps <= self.eps * (1 + 1e-9)


def stated_figures(manifest: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """What a manifest states of the calibrated model, as `measured.calibration` holds it; None for a comparison.

    Raises:
        BundleError: it states no such figures, some that contradict each other, or those of another threat model than
            its own; the message begins with `where`.
    """
    if "comparison" in manifest:
        return None
    metrics = manifest.get("metrics", {})
    figures = {name: metrics.get("after", {}).get(name, {}) for name in STATED}
    for name, figure in figures.items():
        correct, n = figure.get("correct", 0), figure.get("n", 0)
        place = f"metrics.after.{name}"
        if not n:
            raise BundleError(
                f"{where} states no figures: `{place}` is missing; expected those of the calibrated model",
                hint="calibrate again",
            )
        if "correct" not in figure or correct > n or abs(figure["accuracy"] - correct / n) > 1e-6:
            raise BundleError(
                f"{where}: `{place}` has an accuracy of {figure['accuracy']:.6g} and {figure.get('correct', 'none')}"
                f" correct of {n}; expected the same share",
                hint="copy the bundle again, or calibrate again",
            )
    threat, own = metrics["threat"], manifest.get("threat")
    if threat != own:
        raise BundleError(
            f"{where}: `metrics` are figures at {threat}, `threat` is {own}; expected those of one threat model",
            hint="copy the bundle again, or calibrate again",
        )
    return {
        "threat": dict(threat),
        **{name: {"correct": figure["correct"], "n": figure["n"]} for name, figure in figures.items()},
    }


def reference_anchored(distance: NDArray[np.float64] | None, *, calibrated: bool) -> Check:
    """Largest distance (n,) between the reference's embeddings and those that the calibrated model gave."""
    name = "reference_anchored"
    if distance is None:
        return skip(name, "the samples come without stored embeddings: nothing shows which model the reference is")
    whose = (
        "that `calibrate` stored of the calibrated model"
        if calibrated
        else "that the named model gave when the comparison was set up; nothing was calibrated"
    )
    return judge_value(
        name, float(distance.max()), f"largest distance of the reference's embeddings from those {whose}"
    )


def figures_reproduced(stated: Calibration | None, clean: Flags, worst: Flags) -> Check:
    """How far the stated figures lie outside what the reference shows: clean labels (n,), and after every attack (n,).

    Where a run covers the samples of the calibration, both figures are of the same samples.
    """
    name = "figures_reproduced"
    if stated is None:  # a condition of bundles that were calibrated, which this is not
        return Check(name, "skipped", None, limit_text(RULES[name], RULES[name].limit), UNCALIBRATED, required=False)
    shown = Figure.of(clean[: stated.clean.n])
    withstood = Figure.of((worst if stated.attacked is None else stated.attacked)[: stated.worst.n])
    if shown.n == stated.clean.n:
        apart = abs(shown.correct - stated.clean.correct) / shown.n - max(SAME, 1 / shown.n)
    else:
        apart = max(gap(shown, stated.clean), gap(stated.clean, shown))
    why = (
        "how far the figures of the calibration lie outside what the reference shows: clean"
        f" {stated.clean}, here {shown}; worst case {stated.worst}, here {withstood}"
    )
    return judge_value(name, max(apart, gap(stated.worst, withstood)), why)


def gap(higher: Figure, lower: Figure) -> float:
    """How far the 95 % interval of one share lies above that of another; negative if they overlap."""
    return higher.interval.low - lower.interval.high


def independent_reference(engine: str | None, reference: str | None, anchored: Check, *, calibrated: bool) -> Check:
    """Is the engine compared with something other than itself: with another model, or with what `calibrate` stored?"""
    name = "independent_reference"
    if engine is None or engine != reference:
        return judge_value(name, 0.0, "the reference is another model than the engine")
    if calibrated and anchored.status == "pass":
        why = "engine and reference are one graph; what `calibrate` stored of the model in torch is the evidence"
        return judge_value(name, 0.0, why)
    why = "engine and reference are one graph at two levels of optimisation: what the export lost cannot show"
    return judge_value(name, 1.0, why)
