"""The terms on which a passing report counts: threat model, margin, budget and number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from advcal_edge.report.consistency import BUDGETS
from advcal_edge.report.measured import Measured
from advcal_edge.report.value import Value
from advcal_edge.stats import MARGIN, quantile
from advcal_edge.threat import ThreatModel

Difference = tuple[Value, str]


@dataclass(frozen=True, slots=True)
class Terms:
    """What whoever reads a report asks of it."""

    threat: ThreatModel
    """Exactly this ball: at a larger radius both sides may have nothing left to lose, so it is no stricter."""
    margin: float = MARGIN
    """The largest margin."""
    losses: Sequence[str] | None = None
    """Losses of APGD; None for those of the budget."""
    class_margin: float | None = None
    """The largest margin per class; None if none is asked for."""

    def unmet(self, document: Value, measured: Measured) -> Iterator[Difference]:
        """Every term of the `measured` half of a report that is laxer than these, and what these ask for."""
        yield from self._other_ball(document["threat"])
        if measured.margin > self.margin:
            yield document["margin"], f"at most {self.margin:g}"
        yield from self._other_budget(document["budget"])
        fewest = fewest_samples(measured.margin)
        if measured.n < fewest:
            yield (
                document["truth"],
                f"at least {fewest} samples, the fewest that can show such a margin",
            )
        if self.class_margin is not None:
            stated = document.get("per_class_margin")
            if stated is None or stated.number() > self.class_margin:
                yield stated or document["margin"], f"a margin per class of at most {self.class_margin:g}"

    def _other_ball(self, stated: Value) -> Iterator[Difference]:
        threat = self.threat
        if stated["norm"].text() != threat.norm:
            yield stated["norm"], threat.norm
        if stated["eps"].number() != threat.eps:
            yield stated["eps"], f"{threat.eps:.10g}, exactly"
        if [bound.number() for bound in stated["bounds"].items()] != list(threat.bounds):
            yield stated["bounds"], f"{list(threat.bounds)}"

    def _other_budget(self, stated: Value) -> Iterator[Difference]:
        budget = dict(stated.object())
        name, losses = budget.pop("name", None), budget.pop("losses", None)
        known = BUDGETS.get(name) if isinstance(name, str) else None
        if known is None:
            yield stated["name"], f"one of {', '.join(BUDGETS)}"
            return
        for number, value in known[1].items():
            if budget.get(number) != value:
                yield stated[number], f"{value}, as `{name}` has"
        if losses != list(known[0] if self.losses is None else self.losses):
            yield stated["losses"], ", ".join(known[0] if self.losses is None else self.losses)


def fewest_samples(margin: float) -> int:
    """Fewest samples with which an engine can pass: those at which no flip at all just decides.

    Without flips Tango's interval of the drop ends at z^2 / (n + z^2). At a margin of 2 points that takes 189 samples.
    """
    square = quantile(0.95) ** 2
    return math.floor(square / margin - square) + 1
