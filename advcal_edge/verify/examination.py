"""Questions put to an engine alone, on its first samples, before any figure is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from advcal_edge.attacks import PGD, Victim
from advcal_edge.errors import BundleError
from advcal_edge.verify.check import Check
from advcal_edge.verify.checks.agreement import losses_agree, targets_agree
from advcal_edge.verify.checks.effort import more_steps_not_stronger, noise_harmless, one_step_not_stronger
from advcal_edge.verify.checks.endpoints import eps_zero, huge_eps
from advcal_edge.verify.checks.falling import falls_to_zero
from advcal_edge.verify.checks.gradients import finite_differences, gradients_alive
from advcal_edge.verify.checks.norms import gradient_norms
from advcal_edge.verify.checks.stability import batch_independent, repeatable, unit_norm
from advcal_edge.verify.checks.trials import try_attacks
from advcal_edge.verify.curve import Curve, measure_curve
from advcal_edge.verify.lineup import CALLS, Player
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


def enlist(victim: Victim, info: Mapping[str, Any], samples: HeldOut) -> Player:
    """A player; one that does not repeat itself is asked several times whenever an attack wants to know something."""
    steady = repeatable(victim, samples.head(CHECKED).x).status == "pass"
    return Player(victim, info, 1 if steady else CALLS)


def examine(engine: Victim, samples: HeldOut) -> Examination:
    """Run every check that needs the engine alone."""
    few = samples.head(CHECKED)
    curve, trials = draw_curve(engine, samples), try_attacks(engine, few)
    checks = [
        unit_norm(engine, few.x),
        repeatable(engine, few.x),
        batch_independent(engine, few.x),
        eps_zero(engine, few),
        huge_eps(engine, few),
        gradients_alive(engine, few),
        finite_differences(engine, few),
        gradient_norms(engine, few),
        more_steps_not_stronger(trials),
        one_step_not_stronger(trials),
        noise_harmless(trials),
        losses_agree(trials),
        targets_agree(trials),
        falls_to_zero(curve),
    ]
    return Examination(checks, None if curve is None else curve.to_json())


def draw_curve(victim: Victim, samples: HeldOut) -> Curve | None:
    """Accuracy against eps; None without a gradient."""
    if victim.gradient is None:
        return None
    return measure_curve(victim, samples.head(DRAWN), PGD(steps=10))
