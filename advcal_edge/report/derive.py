"""The `derived` half of report.json: a pure function of its `measured` half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from advcal_edge.report.checks import Check
from advcal_edge.report.classes import ByClass
from advcal_edge.report.comparison import Comparison, Verdict, decide
from advcal_edge.report.derived_checks import run_checks
from advcal_edge.report.history import level_of
from advcal_edge.report.measured import Measured
from advcal_edge.report.results import (
    DIRECTIONS,
    ROUTES,
    SIDES,
    AttackResult,
    Curve,
    Flags,
    Retrieval,
    Side,
    first_attacks,
)
from advcal_edge.report.selective import Rule
from advcal_edge.report.stakes import nothing_to_lose
from advcal_edge.report.value import Value
from advcal_edge.retrieval import DEPTHS, TOP, Rank, share
from advcal_edge.sequential import LOOK, Path, last_decided
from advcal_edge.stats import wilson

CLAIM = "observable decision equivalence on the stated inputs"
DEPTH = 10  # under attack the partner is so rarely in first place that an engine could hardly lose recall@1


def derive(measured: object) -> dict[str, Any]:
    """Compute every conclusion of a report from its measurements.

    Raises:
        BundleError: malformed; the message names the path, below `measured`.
    """
    return Judgement.of(read_measured(measured)).to_json()


def read_measured(measured: object) -> Measured:
    """Read the `measured` half of a report.

    Raises:
        BundleError: malformed.
    """
    return Measured.read(Value(measured, "measured"))


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The comparisons and checks of a report, and the verdict over them."""

    measured: Measured
    comparisons: Sequence[Comparison]
    checks: Sequence[Check]
    by_class: ByClass
    builds: Sequence[Judgement]
    """One per build of the engine, this one first; empty if it was not rebuilt."""
    verdict: Verdict
    reasons: Sequence[str]

    @classmethod
    def of(cls, measured: Measured) -> Judgement:
        """Compare, check and decide."""
        comparisons = compare(measured)
        worst, by_class = named(comparisons, "worst case"), ByClass.of(measured, comparisons)
        checks = run_checks(measured, worst)
        failed, doubts = list(by_class.reasons("fail")), [*nothing_to_lose(worst), *by_class.reasons("inconclusive")]
        own = cls(measured, comparisons, checks, by_class, (), *decide(comparisons, checks, doubts, failed))
        if not measured.builds:
            return own
        rebuilt = {sha256: cls.of(build) for sha256, build in measured.rebuilt.items()}
        builds = [rebuilt.get(sha256, own) for sha256 in measured.builds]
        verdicts = [build.verdict for build in builds]
        differ = len(set(verdicts)) > 1
        doubts += [f"builds of this engine differ in their verdict: {', '.join(verdicts)}"] if differ else []
        return cls(measured, comparisons, checks, by_class, builds, *decide(comparisons, checks, doubts, failed))

    def to_json(self) -> dict[str, Any]:
        """Plain types: the `derived` half."""
        measured = self.measured
        parts = {
            "matrix": matrix(measured),
            "curve": None if measured.curve is None else {s: curve(c) for s, c in measured.curve.items()},
            "retrieval": None if measured.retrieval is None else retrieval(measured.retrieval),
            "top5": top_five(measured),
            "rebuilds": rebuilds(self.builds) if self.builds else None,
            "fallback": self.fallback(),
            "sequential": sequential(self.comparisons) if measured.sequential else None,
            "history": history(measured) if measured.history is not None else None,
            "abstention": None if (rule := self.rule()) is None else rule.to_json(),
        }
        return {
            "claim": CLAIM,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "samples": measured.n,
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "routes": [route(item) for item in measured.attacks],
            "classes": self.by_class.to_json(),
            "flips": list(flips(measured)),
            "checks": [check.to_json() for check in self.checks],
            "drift": {
                "cosine_min": float(measured.drift.cosine.min()),
                "cosine_mean": float(measured.drift.cosine.mean()),
                "near_ties": int(measured.drift.near_ties.sum()),
                "near_tie_samples": measured.drift.near_tie_rows.tolist(),
            },
            **{name: part for name, part in parts.items() if part is not None},
        }

    def rule(self) -> Rule | None:
        """The rule by which the engine may abstain; None if it was not asked how sure it is."""
        answers = self.measured.answers
        return None if answers is None else answers.rule(self.measured.clean["engine"])

    def fallback(self) -> dict[str, Any] | None:
        """Every step of the precision fallback, this engine last; None without a fallback."""
        measured = self.measured
        if measured.fallback is None:
            return None
        earlier = [
            {"step": item.step, "engine": item.engine, "verdict": item.verdict, "reasons": list(item.reasons)}
            for item in measured.fallback.earlier
        ]
        own = {
            "step": measured.step,
            "engine": measured.engine,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
        }
        reached = measured.step if self.verdict == "pass" else None
        steps = {"asked": measured.fallback.asked, "attempts": [*earlier, own], "reached": reached}
        if measured.fallback.ranking is None:
            return steps
        return {**steps, "nodes": measured.fallback.ranking.shown(measured.fallback.kept)}


class Outcomes(Protocol):
    """Results of all models on the same samples: those of a report, or of one block."""

    @property
    def attacks(self) -> Sequence[AttackResult]:
        """Every attack on these samples."""

    @property
    def retrieval(self) -> Retrieval | None:
        """Ranks of partners, if there are any."""

    def right(self, model: str) -> Flags:
        """Where (n,) the model is right on clean inputs."""


def compare(measured: Measured) -> list[Comparison]:
    """Compare clean labels, each route, the worst case per sample over all attacks, and recall if there are pairs."""
    level, margin = level_of(test_number(measured)), measured.margin
    return [
        Comparison(
            name,
            reference,
            engine,
            margin,
            decides,
            level,
            Path.of(reference, engine, margin, level) if measured.sequential else None,
        )
        for name, reference, engine, decides in pairs(measured)
    ]


def pairs(outcomes: Outcomes) -> Iterator[tuple[str, Flags, Flags, bool]]:
    """Per comparison: name, where (n,) reference and engine are right, and whether the verdict depends on it."""

    def after(name: str, attacks: Sequence[AttackResult], decides: bool) -> tuple[str, Flags, Flags, bool]:
        reference, engine = (withstood(outcomes, side, attacks) for side in SIDES)
        return name, reference, engine, decides

    by_route = {name: [item for item in outcomes.attacks if item.route == name] for name in ROUTES}
    yield after("clean", (), decides=True)
    for name, attacks in by_route.items():
        if attacks:
            yield after(name, attacks, decides=False)
    yield after("worst case", outcomes.attacks, decides=True)
    if outcomes.retrieval is not None:
        yield from recall_pairs(outcomes.retrieval)


def test_number(measured: Measured) -> int:
    """Which test of the engine a report holds, by the earlier runs on it."""
    if measured.history is None:
        return 1
    reference, engine = (withstood(measured, side, measured.attacks) for side in SIDES)
    return measured.history.number(int((reference & ~engine).sum()), int((engine & ~reference).sum()))


def withstood(measured: Outcomes, model: str, attacks: Sequence[AttackResult]) -> Flags:
    """Where (n,) the model is right on the clean input and after each of these attacks."""
    flags = measured.right(model)
    for item in attacks:
        flags = flags & ~item.fools(model)
    return flags


def recall_pairs(found: Retrieval) -> Iterator[tuple[str, Flags, Flags, bool]]:
    """Compare whether a sample's partner is among the first `DEPTH`; the margin is the same as for labels."""
    for name in ("clean", "attacked"):
        reference, engine = (ranks(found, name, side, "forward") < DEPTH for side in SIDES)
        yield f"recall@{DEPTH} {name}", reference, engine, True


def ranks(found: Retrieval, name: str, side: Side, direction: str) -> Rank:
    """Clean ranks (n,) of the partners, or the worst over all crafted inputs."""
    clean = found.clean[side][direction]
    if name == "clean":
        return clean
    worst: Rank = np.maximum.reduce([clean, *(places[side][direction] for places in found.crafted.values())])
    return worst


def named(comparisons: Sequence[Comparison], name: str) -> Comparison:
    """The comparison with this name."""
    return next(item for item in comparisons if item.name == name)


def route(item: AttackResult) -> dict[str, Any]:
    """Counts of one attack: samples attacked, samples fooled per model, and cost."""
    met = int(item.attacked.sum())
    return {
        "route": item.route,
        "attack": item.attack,
        "crafted_on": item.crafted_on,
        "attacked": met,
        "fools_reference": int(item.fools("reference").sum()),
        "fools_engine": int(item.fools("engine").sum()),
        "engine_among_attacked": share(~item.fools("engine")[item.attacked]) if met else None,
        "queries_mean": item.queries / met if met else 0.0,
    }


def matrix(measured: Measured) -> dict[str, Any] | None:
    """Accuracy clean and under the one attack that was crafted on every model; None if no model has a gradient."""
    rows = first_attacks(measured.attacks)
    if not rows:
        return None
    judges = [*SIDES, *measured.sources]
    return {
        "attack": next(iter(rows.values())).attack,
        "crafted_on": list(rows),
        "judged_on": judges,
        "robust": [[share(withstood(measured, judge, [item])) for judge in judges] for item in rows.values()],
    }


def curve(measured: Curve) -> dict[str, Any]:
    """Accuracy with its 95 % Wilson interval at each radius."""
    n = len(measured.points[0].right)
    points = []
    for point in measured.points:
        correct = int(point.right.sum())
        interval = wilson(correct, n).to_json()
        points.append({"eps": point.eps, "correct": correct, "accuracy": correct / n, "interval": interval})
    return {"attack": measured.attack, "samples": n, "points": points}


def flips(measured: Measured) -> Iterator[dict[str, Any]]:
    """Samples that one side loses and the other keeps, clean or in the worst case, and the attack that broke each."""
    for comparison, attacks in (("clean", ()), ("worst case", measured.attacks)):
        kept = {side: withstood(measured, side, attacks) for side in SIDES}
        for sample in np.flatnonzero(kept["reference"] != kept["engine"]).tolist():
            lost_on: Side = "reference" if kept["engine"][sample] else "engine"
            found_by = None
            if measured.right(lost_on)[sample]:
                first = next(item for item in attacks if item.fools(lost_on)[sample])
                found_by = f"{first.route}: {first.attack}, crafted on {first.crafted_on}"
            yield {
                "sample": sample,
                "truth": measured.labels[measured.truth[sample]],
                "comparison": comparison,
                "lost_on": lost_on,
                "found_by": found_by,
            }


def retrieval(found: Retrieval) -> dict[str, Any]:
    """Recall at each depth, both ways, on both sides, clean and in the worst case."""
    document: dict[str, Any] = {
        "gallery": found.gallery,
        "attacks": [{"attack": found.attack, "crafted_on": side} for side in found.crafted],
    }
    for name in ("clean", "attacked"):
        document[name] = {
            side: {way: {f"recall@{k}": share(ranks(found, name, side, way) < k) for k in DEPTHS} for way in DIRECTIONS}
            for side in SIDES
        }
    return document


def top_five(measured: Measured) -> dict[str, Any] | None:
    """Share of true labels among the best five, clean and under every attack; None among five labels or fewer.

    For information (after arXiv 2505.11895): the attacks aim at the first place, and a sample whose clean label is
    wrong keeps its clean rank, so the worst case is an upper bound.
    """
    if len(measured.labels) <= TOP:
        return None
    worst = {
        side: np.maximum.reduce([measured.clean[side], *(item.ranks[side] for item in measured.attacks)])
        for side in SIDES
    }
    return {
        "labels": len(measured.labels),
        "clean": {side: share(measured.clean[side] < TOP) for side in SIDES},
        "worst case": {side: share(worst[side] < TOP) for side in SIDES},
    }


def sequential(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The looks at every deciding comparison, and the number of samples at which they decided."""
    paths = {item.name: item.path for item in comparisons if item.decides and item.path is not None}
    return {
        "every": LOOK,
        "level": comparisons[0].level,
        "decided": last_decided([*paths.values()]),
        "paths": {name: path.to_json() for name, path in paths.items()},
    }


def history(measured: Measured) -> dict[str, Any]:
    """Earlier runs on the engine, which test this one is, and the level that is left for it."""
    number = test_number(measured)
    earlier = () if measured.history is None else measured.history.earlier
    return {"number": number, "level": level_of(number), "runs": [item.to_json() for item in earlier]}


def rebuilds(builds: Sequence[Judgement]) -> dict[str, Any]:
    """Verdict and worst case of each build, and how far they spread."""
    rows: list[Mapping[str, Any]] = []
    for build in builds:
        worst = named(build.comparisons, "worst case")
        rows.append(
            {
                "sha256": build.measured.engine,
                "verdict": build.verdict,
                "clean_drop": named(build.comparisons, "clean").drop,
                "worst_case": share(worst.engine),
                "worst_case_drop": worst.drop,
            }
        )
    shares = [row["worst_case"]["accuracy"] for row in rows]
    return {
        "asked": len(builds) - 1,
        "distinct": len({row["sha256"] for row in rows}),
        "builds": rows,
        "spread": max(shares) - min(shares),
    }
