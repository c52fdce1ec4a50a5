"""Sanity checks: the single place where each measurement is compared with its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.value import Value
from advcal_edge.stats import tango

Status = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The limit of a check, and whether the verdict depends on it."""

    limit: float
    required: bool = True
    at_least: bool = False
    derived: bool = False
    """Derived from other measurements; otherwise measured on the engine."""


RULES: dict[str, Rule] = {
    "runs": Rule(0.0, derived=True),  # an engine that raises on one legal input will do so in the field
    "unit_norm": Rule(1e-3),
    "repeatable": Rule(1e-6),  # exact on one device; the slack is for reductions whose order a GPU may change
    # length of the change of a unit vector: other batch sizes choose other kernels, and int8 may then move by one step
    "batch_independent": Rule(0.02),
    "eps_zero": Rule(0.0),
    "huge_eps": Rule(0.0),
    "gradients_alive": Rule(0.01),
    "finite_differences": Rule(0.3),  # bindlite image, n = 32: 0.16 for int8, 0.47 for an input rounded to 16 levels
    # bindlite, five sensors, n = 32: 1.08 for fp32 and fp16, 1.17 for int8; 2.1 without the right half of the gradient
    "gradient_norms": Rule(1.35),
    "more_steps_not_stronger": Rule(0.1),  # bindlite, five sensors, n = 137 to 188: 1 to 4 % more for PGD-20
    "one_step_not_stronger": Rule(0.05),  # bindlite, five sensors, n = 32: one step never broke what ten did not
    "noise_harmless": Rule(0.05),  # bindlite, five sensors, n = 32: noise breaks at most 2, the gradient these too
    # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most; 21 % for a temperature / 1000
    "losses_agree": Rule(0.05),
    "targets_agree": Rule(0.05),  # bindlite, five sensors, n = 137 to 188: a lead of 3 % at most
    # bindlite, five sensors, n = 32: no rise and nothing left; a dead gradient leaves 16 of 32
    "falls_to_zero": Rule(0.02, derived=True),
    "black_box_not_stronger": Rule(0.01, derived=True),
    "transfer_not_stronger": Rule(0.05, derived=True),
    "not_more_robust": Rule(0.5, derived=True),  # of the margin
    # of the margin; bindlite image and thermal, n = 200: none lost by fp32 and fp16, a bound of 0.001 for int8
    "same_at_second_look": Rule(1.0, derived=True),
    # bindlite, five sensors, 128 of each kind, ties too: 1 for fp16; for int8 4, and 9 mixed clouds, a bound of 0.038
    "agrees_elsewhere": Rule(0.05),
    # bindlite, five sensors, n = 200: 0.9989 for the worst int8; 0.54 for embeddings turned around the centers
    "cosine_floor": Rule(0.95, at_least=True, derived=True),
    "neighbours_kept": Rule(0.02, derived=True),  # bindlite, five sensors, n = 200: none lost, 38 if turned like that
    "drift_within_margin": Rule(0.05, derived=True),  # bindlite image, n = 200: 0.02 for int8, 0.09 for 4-bit weights
    # bindlite image and thermal, n = 200: 2e-7 for torch in other batches, 7e-7 for the fp32 graph in any batch
    # and at opsets 18 and 20; 5e-4 for fp16, which is no reference; 0.4 and 0.7 with the adapter lost
    "reference_anchored": Rule(1e-3, derived=True),
    "figures_reproduced": Rule(0.0, derived=True),  # 95 % intervals that overlap
    # nodes; 0 on 7 to 9 variants (opsets, optimised, int8) each of ten encoders (test_census.py, test_census_towers.py)
    "graph_explained": Rule(0.0, derived=True),
    "independent_reference": Rule(0.0, derived=True),
    "survives_rounding": Rule(0.5, required=False, at_least=True),
}
"""Every check, in the order of the report; `verify.check` adds those that are registered in other packages."""
CHECKED = 32
"""The first samples, on which the costlier checks are measured."""
LOWEST = {
    **dict.fromkeys(("unit_norm", "repeatable", "batch_independent", "eps_zero", "huge_eps"), 0.0),
    **dict.fromkeys(("gradients_alive", "finite_differences"), 0.0),
    "gradient_norms": 1.0,
}
"""The lowest number that a check can give: distances, shares, and a ratio with the larger of two above the smaller."""
NO_GRADIENT = "no gradient: no backward graph or plan, and none from torch, see `--gradient` and `--gradient-graph`"
"""Why checks of the gradient cannot run on a black box."""
FINE = 32  # steps of the sensor's grid that an attack moves values by on average; rounding takes at most half a step


@dataclass(frozen=True, slots=True)
class Check:
    """A number against a limit. A required check that was skipped makes the verdict inconclusive."""

    name: str
    status: Status
    measured: float | None
    limit: str
    why: str
    required: bool
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The measurement as `measured.checks` holds it; empty for a derived check."""

    @property
    def page(self) -> str:
        """Path of its documentation, from the root of the repository."""
        return f"docs/checks/{self.name}.md"

    def to_json(self) -> dict[str, Any]:
        """Plain types for `derived.checks`."""
        names = ("name", "status", "measured", "limit", "why", "required", "page")
        return {name: getattr(self, name) for name in names}


def measured_checks() -> list[str]:
    """Names of the checks that are measured on the engine."""
    return [name for name, rule in RULES.items() if not rule.derived]


def judge_value(name: str, value: float | None, why: str, *, limit: float | None = None) -> Check:
    """Compare a number with the limit of its check; None or a number that is not finite fails."""
    if value is not None and not math.isfinite(value):
        value, why = None, f"{why}; measured {value}"
    rule = RULES[name]
    limit = rule.limit if limit is None else limit
    good = value is not None and (value >= limit if rule.at_least else value <= limit)
    raw = {"value": value, "why": why}
    return Check(name, "pass" if good else "fail", value, limit_text(rule, limit), why, rule.required, raw)


def judge_lead(name: str, gained: int, lost: int, n: int, what: str) -> Check:
    """Compare the lead of one attack over another on the same n samples with the limit of its check.

    `gained` samples were broken by the first attack alone, `lost` by the second alone. The lower bound of the paired
    difference counts, so that a few samples do not count as evidence.
    """
    why = f"95 % lower bound of the lead of {what}: +{gained} / -{lost} of {n} samples"
    check = judge_value(name, tango(gained, lost, n).low, why)
    raw = {"gained": gained, "lost": lost, "samples": n, "what": what}
    return Check(name, check.status, check.measured, check.limit, why, check.required, raw)


def compare_attacks(name: str, first: NDArray[np.bool_], second: NDArray[np.bool_], what: str) -> Check:
    """`judge_lead` of an attack that won on `first` (n,) over one that won on `second` (n,)."""
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return judge_lead(name, gained, lost, len(first), what)


def judge_survival(fooled: int, survived: int, steps: float, bits: int) -> Check:
    """Compare the share of adversarial inputs that survive rounding to the sensor's grid with its limit.

    `fooled` inputs move values by `steps` of a grid of `bits` on average. Skipped if the grid is so fine that
    rounding cannot undo the attack, as with 16 bits.
    """
    name, raw = "survives_rounding", {"fooled": fooled, "survived": survived, "steps": steps, "bits": bits}
    if not fooled:
        check = skip(name, "no attack succeeded")
    elif steps > FINE:
        check = skip(
            name, f"attacks move values by {steps:.0f} steps of the sensor's {bits}-bit grid, too many to undo"
        )
    else:
        check = judge_value(name, survived / fooled, f"share of successes left after rounding to {bits} bits")
    return Check(name, check.status, check.measured, check.limit, check.why, check.required, raw)


def skip(name: str, why: str) -> Check:
    """A check that could not run, with the reason."""
    rule = RULES[name]
    return Check(name, "skipped", None, limit_text(rule, rule.limit), why, rule.required, {"skipped": why})


def limit_text(rule: Rule, limit: float) -> str:
    """A readable limit, like `<= 0.01`."""
    return f"{'>=' if rule.at_least else '<='} {limit:g}"


def read_check(name: str, value: Value) -> Check:
    """Judge a check again from its measurement.

    Raises:
        BundleError: malformed.
    """
    if name == "survives_rounding":
        value.only("fooled", "survived", "steps", "bits")
        fooled, survived = value["fooled"].integer(), value["survived"].integer()
        if survived > fooled:
            raise value["survived"].expected(f"at most {fooled}")
        return judge_survival(fooled, survived, value["steps"].number(), value["bits"].integer())
    if value.get("skipped") is not None:
        value.only("skipped")
        return skip(name, value["skipped"].text())
    if value.get("gained") is not None:
        value.only("gained", "lost", "samples", "what")
        gained, lost, n = (value[key].integer() for key in ("gained", "lost", "samples"))
        if not n > 0 or gained + lost > n:
            raise value["samples"].expected(f"at least {max(gained + lost, 1)}")
        return judge_lead(name, gained, lost, n, value["what"].text())
    value.only("value", "why")
    number = None if value["value"].value is None else value["value"].number()
    return judge_value(name, number, value["why"].text())
