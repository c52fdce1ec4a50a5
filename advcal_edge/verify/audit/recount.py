"""Everything in a report that follows from its flags, counted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.stats import clopper_pearson, mcnemar, newcombe, wilson
from advcal_edge.verify.audit.finding import Finding, hold, wrong
from advcal_edge.verify.audit.stated import Stated
from advcal_edge.verify.comparison import Comparison

Flags = NDArray[np.bool_]

SIDES = ("reference", "engine")
ROUTES = ("transfer", "gradient", "difference", "black box", "label only")
RECALL = ("recall@10 clean", "recall@10 attacked")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One attack of a report: whom it met and whom it fools."""

    route: str
    attack: str
    crafted_on: str
    attacked: Flags
    fools: Mapping[str, Flags]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a report says sample by sample; everything else is counted from it."""

    n: int
    clean: Mapping[str, Flags]
    routes: Sequence[Route]
    recall: Mapping[str, Mapping[str, Flags]]
    margin: float

    @classmethod
    def read(cls, report: Stated) -> Evidence:
        """Flags of a document.

        Raises:
            BundleError: malformed, or flags of different lengths.
        """
        named, described = report["per_sample"]["comparisons"], report["routes"].items()
        n = len(named["clean"]["reference"].flags())
        flags = report["per_sample"]["routes"].items()
        if len(flags) != len(described):
            raise report["per_sample"]["routes"].malformed(f"has {len(flags)} entries; expected {len(described)}")
        routes = [
            Route(
                item["route"].text(),
                item["attack"].text(),
                item["crafted_on"].text(),
                found["attacked"].flags(n),
                {side: found[f"fools_{side}"].flags(n) for side in SIDES},
            )
            for item, found in zip(described, flags, strict=True)
        ]
        recall = {name: both(named[name], n) for name in RECALL if any(named.has(other) for other in RECALL)}
        margin = report["margin"].number()
        if not 0 < margin < 1:
            raise report["margin"].expected("a number between 0 and 1")
        return cls(n, both(named["clean"], n), routes, recall, margin)

    def withstood(self, side: str, routes: Sequence[str] = ROUTES) -> Flags:
        """Right when clean and after every input of these routes."""
        flags = self.clean[side].copy()
        for item in self.routes:
            if item.route in routes:
                flags &= ~item.fools[side]
        return flags

    def comparisons(self) -> list[Comparison]:
        """Clean, each route, the worst case, and recall where there are partners."""
        present = {item.route for item in self.routes}
        found: dict[str, Mapping[str, Flags]] = {"clean": self.clean}
        found |= {name: {side: self.withstood(side, [name]) for side in SIDES} for name in ROUTES if name in present}
        found |= {"worst case": {side: self.withstood(side) for side in SIDES}, **self.recall}
        return [
            Comparison(name, flags["reference"], flags["engine"], self.margin, decides=name not in ROUTES)
            for name, flags in found.items()
        ]


def both(stated: Stated, n: int) -> dict[str, Flags]:
    """Flags of either side."""
    return {side: stated[side].flags(n) for side in SIDES}


def recount(report: Stated, evidence: Evidence) -> list[Finding]:
    """Comparisons, routes and flips.

    Raises:
        BundleError: malformed.
    """
    comparisons = evidence.comparisons()
    findings = hold("samples", report["samples"], evidence.n)
    stated = report["comparisons"].items()
    names = [item["name"].text() for item in stated]
    expected = [item.name for item in comparisons]
    if names != expected:
        findings.append(Finding("comparisons", "wrong", ", ".join(names), ", ".join(expected), "comparisons"))
    by_name = dict(zip(names, stated, strict=True))
    for item in comparisons:
        if item.name in by_name:
            findings += hold(f"comparison {item.name}", by_name[item.name], counted(item))
    flags = {item.name: {side: written(getattr(item, side)) for side in SIDES} for item in comparisons}
    findings += hold("flags of the comparisons", report["per_sample"]["comparisons"], flags)
    known = {*SIDES, *(item["name"].text() for item in report["sources"].items())}
    for k, (found, route) in enumerate(zip(report["routes"].items(), evidence.routes, strict=True), 1):
        findings += route_findings(f"route {k}, {route.route}", found, route, known)
    return findings


def route_findings(name: str, stated: Stated, route: Route, crafted_on: Set[str]) -> list[Finding]:
    """The counts of one attack, and whether it is of a known route and was crafted on somebody known."""
    expected = {
        "route": route.route,
        "attack": route.attack,
        "crafted_on": route.crafted_on,
        "attacked": int(route.attacked.sum()),
        **{f"fools_{side}": int(route.fools[side].sum()) for side in SIDES},
        "engine_among_attacked": share(~route.fools["engine"][route.attacked]) if route.attacked.any() else None,
        "queries_mean": stated["queries_mean"].number(),
    }
    findings = hold(name, stated, expected)
    if route.route not in ROUTES:
        findings.append(Finding(name, "wrong", route.route, f"one of {', '.join(ROUTES)}", f"{stated.path}.route"))
    by_gradient = route.route in ("gradient", "transfer")
    fits = not by_gradient or (route.route == "gradient") is (route.crafted_on == "engine")
    if route.crafted_on not in crafted_on or not fits:
        rule = "`gradient` on the engine, `transfer` on the reference or a source"
        findings.append(wrong(name, stated["crafted_on"], rule if by_gradient else "a model that the report names"))
    if any((route.fools[side] & ~route.attacked).any() for side in SIDES):
        findings.append(Finding(name, "wrong", "fools samples it did not meet", "none", stated.path))
    return findings


def counted(item: Comparison) -> dict[str, Any]:
    """A row of `comparisons`."""
    n, lost, gained = len(item.reference), item.only_reference, item.only_engine
    together = int((item.reference & item.engine).sum())
    return {
        "name": item.name,
        "n": n,
        "reference": share(item.reference),
        "engine": share(item.engine),
        "only_reference": lost,
        "only_engine": gained,
        "drop": item.drop,
        "interval": item.interval.to_json(),
        "newcombe": newcombe(lost, gained, together, n).to_json(),
        "mcnemar": float(mcnemar(lost, gained)),
        "margin": item.margin,
        "verdict": item.verdict,
        "decides": item.decides,
        "samples_to_decide": item.samples_to_decide,
    }


def share(flags: Flags) -> dict[str, Any]:
    """Hits among `flags`, with both intervals."""
    return share_of(int(flags.sum()), len(flags))


def share_of(hits: int, n: int) -> dict[str, Any]:
    """`hits` of `n` with both intervals."""
    interval, exact = intervals(hits, n)
    return {"hits": hits, "n": n, "accuracy": hits / n, "interval": list(interval), "exact": list(exact)}


@lru_cache(maxsize=4096)
def intervals(hits: int, n: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Wilson's and the exact one."""
    score, exact = wilson(hits, n), clopper_pearson(hits, n)
    return (score.low, score.high), (exact.low, exact.high)


def written(flags: Flags) -> str:
    """As a report writes them."""
    return "".join("1" if flag else "0" for flag in flags)
