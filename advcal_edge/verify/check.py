"""Sanity checks: a measured number against a limit, and the registry that each check enters beside its definition."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import MARGIN, tango

Status = Literal["pass", "fail", "skipped"]
Stage = Literal["engine", "results"]

NO_GRADIENT = "no gradient graph: export without `--no-gradient`"
FACTS: Mapping[Stage, Mapping[str, str]] = {
    "engine": {
        "engine": "the engine under test, as a victim",
        "samples": "the first held-out samples",
        "trials": "several attacks on those samples, see `trials.Trials`",
        "curve": "accuracy against eps, None without a gradient",
    },
    "results": {
        "evidence": "every attack of the run, on all samples",
        "worst": "the comparison in the worst case over all attacks",
        "drift": "change of the embeddings of clean samples, see `drift.Drift`",
        "engine_info": "what the report says about the engine",
        "reference_info": "what the report says about the reference",
        "modality": "the sensor",
        "fooled": "where (n,) an input fools the engine",
        "survived": "where (n,) it still does after rounding to the sensor's grid",
        "moved": "mean change (n,) of a value, in the units of the input",
    },
}
"""What a check may ask for by the names of its parameters, and what that is: before and after the attacks."""


@dataclass(frozen=True, slots=True)
class Check:
    """A measured number against a limit. A required check that was skipped makes the verdict inconclusive."""

    name: str
    status: Status
    measured: float | None
    limit: str
    why: str
    required: bool = True

    @property
    def page(self) -> str:
        """Where the documentation explains it, from the root of the repository."""
        return f"docs/checks/{self.name}.md"

    @property
    def shown(self) -> str:
        """The measured number for people."""
        return "-" if self.measured is None else f"{self.measured:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {**asdict(self), "page": self.page}


@dataclass(frozen=True, slots=True)
class Measurement:
    """The number that a check measured and what it is; without a number, why the check was skipped."""

    value: float | None
    why: str


@dataclass(frozen=True, slots=True)
class CheckDefinition:
    """A registered check: its measurement, its limit, and whether the verdict depends on it."""

    name: str
    stage: Stage
    order: int
    """Place among the checks of its stage in a report."""
    sign: Literal["<=", ">="]
    limit: float
    of_margin: bool
    """Whether `limit` is a multiple of the margin of the verification."""
    required: bool
    measure: Callable[..., Measurement]
    needs: tuple[str, ...]
    """Names of `FACTS` that `measure` takes."""

    def __call__(self, *facts: Any, margin: float = MARGIN, **named: Any) -> Check:
        """Measure these facts and hold the result against the limit."""
        return self.settle(self.measure(*facts, **named), margin)

    def settle(self, measurement: Measurement, margin: float = MARGIN) -> Check:
        """The check for a measurement: passed within the limit, failed beyond it or where the number is not finite."""
        value, why, limit = measurement.value, measurement.why, self.limit_at(margin)
        shown = f"{self.sign} {limit:g}"
        if value is None:
            return Check(self.name, "skipped", None, shown, why, self.required)
        if not math.isfinite(value):
            return Check(self.name, "fail", None, shown, f"{why}; measured {value}", self.required)
        good = value <= limit if self.sign == "<=" else value >= limit
        return Check(self.name, "pass" if good else "fail", value, shown, why, self.required)

    def limit_at(self, margin: float) -> float:
        """The limit in a verification with this margin."""
        return self.limit * margin if self.of_margin else self.limit


CHECKS: dict[str, CheckDefinition] = {}
"""Checks by name, as far as their modules are imported; `checks.registered` imports all that this package has."""


def check(
    *,
    order: int,
    at_most: float | None = None,
    at_least: float | None = None,
    of_margin: bool = False,
    required: bool = True,
) -> Callable[[Callable[..., Measurement]], CheckDefinition]:
    """Register the decorated function as a check under its own name.

    Its parameters name the `FACTS` that it measures; they also decide whether it runs on an engine before the attacks
    or on the results after them.

    Raises:
        TypeError: a name that is taken, a parameter that is no fact of one stage, or not exactly one limit.
    """

    def register(measure: Callable[..., Measurement]) -> CheckDefinition:
        name, needs = measure.__name__, tuple(inspect.signature(measure).parameters)
        stage = next((stage for stage, facts in FACTS.items() if set(needs) <= facts.keys()), None)
        if stage is None:
            known = "; or ".join(", ".join(facts) for facts in FACTS.values())
            raise TypeError(f"check `{name}` asks for {', '.join(needs)}; expected some of {known}")
        if name in CHECKS:
            raise TypeError(f"check `{name}` is defined twice")
        if of_margin and stage == "engine":
            raise TypeError(f"check `{name}` runs before the margin is known; give it a limit of its own")
        if (at_most is None) is (at_least is None):
            raise TypeError(f"check `{name}` needs `at_most` or `at_least`")
        sign: Literal["<=", ">="] = "<=" if at_most is not None else ">="
        limit = at_most if at_most is not None else at_least or 0.0
        CHECKS[name] = CheckDefinition(name, stage, order, sign, limit, of_margin, required, measure, needs)
        return CHECKS[name]

    return register


def lead(first: NDArray[np.bool_], second: NDArray[np.bool_], what: str) -> Measurement:
    """By how much an attack that won on `first` (n,) leads over one that won on `second` (n,), on the same samples.

    The measured number is the lower bound of the paired difference, so that a few samples are no evidence.
    """
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    why = f"95 % lower bound of the lead of {what}: +{gained} / -{lost} of {len(first)} samples"
    return Measurement(tango(gained, lost, len(first)).low, why)
