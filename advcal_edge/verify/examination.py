"""Questions put to an engine alone, on its first samples, before any figure is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from advcal_edge.attacks import PGD, Victim
from advcal_edge.errors import BundleError
from advcal_edge.verify.check import Check
from advcal_edge.verify.checks import run_checks
from advcal_edge.verify.checks.stability import repeatable
from advcal_edge.verify.checks.trials import try_attacks
from advcal_edge.verify.curve import Curve, measure_curve
from advcal_edge.verify.lineup import CALLS
from advcal_edge.verify.samples import HeldOut

CHECKED = 32  # samples that the costlier checks look at
DRAWN = 64  # samples of the curve of accuracy against eps


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What the checks of one engine found, and its accuracy against eps beside the reference's."""

    checks: Sequence[Check]
    curve: Mapping[str, Any] | None
    """Accuracy against eps, None for an engine without a gradient."""
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain types for the state of a run."""
        return {"checks": [check.to_json() for check in self.checks], "curve": self.curve}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Examination:
        """Read what `to_json` wrote.

        Raises:
            BundleError: malformed.
        """
        names = [field.name for field in fields(Check)]
        try:
            checks = [Check(**{name: check[name] for name in names}) for check in data["checks"]]
            return cls(checks, data["curve"], float(data["seconds"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the examination of an engine is malformed: {error!r}") from error


def detect_randomness(victim: Victim, samples: HeldOut) -> int:
    """How many answers an attack has to average: one of a model that repeats itself, else `CALLS`."""
    return 1 if repeatable(victim, samples.head(CHECKED)).status == "pass" else CALLS


def examine(engine: Victim, samples: HeldOut) -> Examination:
    """Run every check that needs the engine alone."""
    few = samples.head(CHECKED)
    curve, trials = draw_curve(engine, samples), try_attacks(engine, few)
    checks = run_checks("engine", {"engine": engine, "samples": few, "trials": trials, "curve": curve})
    return Examination(checks, None if curve is None else curve.to_json())


def draw_curve(victim: Victim, samples: HeldOut) -> Curve | None:
    """Accuracy against eps; None without a gradient."""
    if victim.gradient is None:
        return None
    return measure_curve(victim, samples.head(DRAWN), PGD(steps=10))
