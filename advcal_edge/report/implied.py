"""The attacks that a budget implies, by route, and what each can cost: what a report must hold to be believed.

`verify` plans its attacks by the registry in `attacks`, which lies above this package. The runtime reads reports and
must not load attacks, so the names are written down here; a test compares them with the registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

PGD = "PGD(steps={steps}, step=None, restarts={restarts}, momentum=0.0, loss='{loss}', select='{select}')"
APGD = "APGD(steps={steps}, restarts={restarts}, loss='{loss}')"
TARGETED = "TargetedAPGD(steps={steps}, targets={targets}, loss='{loss}', restarts=1)"
SQUARE = "Square(queries={queries}, share=0.8, loss='{loss}')"
RAYS = "RayS(queries={queries}, tolerance=0.0001)"
KNOWN = ("PGD", "APGD", "TargetedAPGD", "Square", "RayS")
"""Attacks of this package. Any other in a report is one that somebody registered; it comes on top of these."""


@dataclass(frozen=True, slots=True)
class BudgetNumbers:
    """The numbers of a budget, its losses, and the classes that it was made for."""

    numbers: Mapping[str, int]
    losses: Sequence[str]
    classes: int

    def first(self) -> str:
        """The attack that runs on every sample and every model."""
        return PGD.format(steps=self.numbers["pgd_steps"], restarts=1, loss="ce", select="strongest")

    def attacks(self, route: str) -> list[str]:
        """The attacks of a route of `attacks.Route` on one model, in the order in which they run."""
        return list(self._attacks(route))

    def _attacks(self, route: str) -> Iterator[str]:
        number = self.numbers
        if route == "first":
            yield self.first()
        elif route == "gradient":
            if number["pgd_restarts"] > 1:
                restarts = number["pgd_restarts"] - 1
                yield PGD.format(steps=number["pgd_steps"], restarts=restarts, loss="ce", select="best")
            for loss in self.losses if number["apgd_steps"] else ():
                yield APGD.format(steps=number["apgd_steps"], restarts=number["apgd_restarts"], loss=loss)
            if number["targets"]:
                targets, loss = min(number["targets"], self.classes - 1), "dlr" if self.classes > 3 else "margin"
                yield TARGETED.format(steps=number["apgd_steps"], targets=targets, loss=loss)
        elif route == "difference" and number["difference_steps"]:
            yield PGD.format(steps=number["difference_steps"], restarts=1, loss="diva", select="best")
        elif route == "black box" and number["square_queries"]:
            yield SQUARE.format(queries=number["square_queries"], loss="margin")
        elif route == "label only" and number["label_queries"]:
            yield RAYS.format(queries=number["label_queries"])
        elif route == "abstention":
            if number["apgd_steps"]:
                yield APGD.format(steps=number["apgd_steps"], restarts=1, loss="selective")
            if number["targets"]:
                targets = min(number["targets"], self.classes - 1)
                yield TARGETED.format(steps=number["apgd_steps"], targets=targets, loss="selective")
        elif route == "abstention by scores" and number["square_queries"]:
            yield SQUARE.format(queries=number["square_queries"], loss="selective")


def attack_settings(attack: str) -> tuple[str, dict[str, str]]:
    """`APGD(steps=10, loss='ce')` as its name and settings."""
    name, _, inside = attack.partition("(")
    return name, dict(re.findall(r"\b(\w+)='?([^,')]*)", inside))


@dataclass(frozen=True, slots=True)
class Cost:
    """Queries of one attack for a sample that it breaks, at least, and for one that withstands, exactly."""

    least: int
    most: int


def cost_of(attack: str) -> Cost | None:
    """What an attack costs per sample; None for one that is not of this package, or has other settings.

    A sample that withstands costs every step. Except for the first attack, which goes on after success, one that is
    broken may be done after any query.
    """
    name, settings = attack_settings(attack)
    if name not in KNOWN:
        return None
    try:
        count = {key: int(settings[key]) for key in COSTS[name]}
    except (KeyError, ValueError):
        return None
    if name in ("Square", "RayS"):
        return Cost(min(1, count["queries"]), count["queries"])
    most = 1 + count["restarts"] * count.get("targets", 1) * (count["steps"] + 1)
    return Cost(most if settings.get("select") == "strongest" else 1, most)


COSTS: Mapping[str, Sequence[str]] = {
    "PGD": ("steps", "restarts"),
    "APGD": ("steps", "restarts"),
    "TargetedAPGD": ("steps", "restarts", "targets"),
    "Square": ("queries",),
    "RayS": ("queries",),
}
"""The settings on which the cost of an attack depends."""
