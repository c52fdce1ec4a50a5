"""Registry of the checks that are measured on an engine. Each check is registered where it is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from advcal_edge.report.checks import RULES, Check, Rule

FACTS: Mapping[str, str] = {
    "engine": "the engine under test, as a model",
    "samples": "the first held-out samples",
    "reference": "the model that the engine is held against",
    "elsewhere": "legal inputs off the held-out samples by kind, see `elsewhere`",
    "trials": "several attacks on those samples, see `trials.Trials`",
}
"""Facts that a check can take as parameters, by name."""

Measure = Callable[..., Check]

CHECKS: dict[str, Measure] = {}
"""Checks by name, for the modules imported so far; `checks.registered` imports every module of this package."""


def check(
    *, at_most: float | None = None, at_least: float | None = None, required: bool = True
) -> Callable[[Measure], Measure]:
    """Register the decorated function as a check under its own name; its parameters name the `FACTS` it measures.

    Checks of this package have their limit in `report.checks.RULES`, so that the runtime can read limits without the
    code that measures. A check from another package states its limit here.

    Raises:
        TypeError: a name that is taken, a parameter that is not a fact, or not exactly one limit.
    """

    def register(measure: Measure) -> Measure:
        name, needs = measure.__name__, tuple(inspect.signature(measure).parameters)
        if not set(needs) <= FACTS.keys():
            raise TypeError(f"check `{name}` asks for {', '.join(needs)}; expected some of {', '.join(FACTS)}")
        if name in CHECKS:
            raise TypeError(f"check `{name}` is defined twice")
        if name not in RULES:
            if (at_most is None) is (at_least is None):
                raise TypeError(f"check `{name}` needs `at_most` or `at_least`")
            limit = at_most if at_most is not None else at_least or 0.0
            RULES[name] = Rule(limit, required, at_least=at_least is not None)
        CHECKS[name] = measure
        return measure

    return register
