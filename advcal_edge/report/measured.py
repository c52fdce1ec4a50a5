"""The `measured` half of report.json, typed and checked: all the data behind a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.answers import Answers
from advcal_edge.report.calibration import Calibration
from advcal_edge.report.census import Census, read_census
from advcal_edge.report.checks import Check, measured_checks, read_check
from advcal_edge.report.history import History
from advcal_edge.report.nodes import NodeRanking, read_kept
from advcal_edge.report.raised import NOTHING_RAISED, Raised
from advcal_edge.report.results import SIDES, AttackResult, Curve, Drift, Flags, Retrieval, Side, first_attacks
from advcal_edge.report.value import Value
from advcal_edge.retrieval import GALLERY, Rank
from advcal_edge.sequential import LOOK

EARLIER = ("fail", "inconclusive", "skipped")
IDENTITY = (
    *("engine", "reference", "sources", "threat", "budget", "seed", "margin", "expectation", "labels"),
    *("hashes", "gallery", "context", "environment", "seconds"),
)
"""Members of `measured` that identify what was tested; renderings show them next to `derived`."""
BUILD = (
    *("engine", "reference", "sources", "margin", "labels", "truth", "clean", "attacks", "drift", "neighbours"),
    *("checks", "anchor", "calibration"),
)
"""Members of `measured` that another build of the engine also has, plus those of `BUILD_IF_PRESENT`."""
BUILD_IF_PRESENT = ("curve", "retrieval", "raised", "sequential", "per_class_margin")


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """One step of the precision fallback before this engine: its hash, or None if it was not verified, and why."""

    step: str
    engine: str | None
    verdict: str
    reasons: Sequence[str]

    @classmethod
    def read(cls, value: Value) -> FallbackStep:
        """Read one entry of `measured.fallback.earlier`."""
        value.only("step", "engine", "verdict", "reasons")
        verdict, reasons = value["verdict"].choice(EARLIER), value["reasons"].texts()
        engine = None if value["engine"].value is None else value["engine"].sha256()
        if not reasons:
            raise value["reasons"].expected("a reason")
        if engine is None and verdict == "inconclusive":
            raise value["engine"].expected("the engine that was verified")
        if engine is not None and verdict == "skipped":
            raise value["engine"].expected("null for a step that was skipped")
        return cls(value["step"].text(), engine, verdict, reasons)


@dataclass(frozen=True, slots=True)
class Fallback:
    """The precision that was requested, and the steps that did not reach it."""

    asked: str
    earlier: Sequence[FallbackStep]
    kept: Sequence[str] = ()
    """Names of the nodes of the ranking that stay fp32 in this engine."""
    ranking: NodeRanking | None = None
    """The matrix products by what each costs; None if they were not ranked."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All data behind a verdict, n samples each; the order of the samples is that of the probe."""

    engine: str
    """sha256 of the engine."""
    precision: str
    step: str | None
    reference: str | None
    """sha256 of the reference if it is a graph."""
    sources: Sequence[str]
    margin: float
    labels: Sequence[str]
    truth: NDArray[np.int64]
    clean: Mapping[str, Rank]
    """Per model the rank (n,) of the true label on clean inputs."""
    attacks: Sequence[AttackResult]
    drift: Drift
    neighbours: Rank
    """Place (m,) of each sample's nearest neighbour among the engine's, for the first m samples."""
    anchor: NDArray[np.float64] | None
    """Distance (n,) of the reference's clean embeddings from the stored ones; None if there are none."""
    calibration: Calibration | None
    """Figures that the manifest states; None if nothing was calibrated."""
    checks: Mapping[str, Check]
    raised: Raised
    curve: Mapping[Side, Curve] | None
    retrieval: Retrieval | None
    builds: Sequence[str]
    """sha256 of each build, this engine first; empty if it was not rebuilt."""
    rebuilt: Mapping[str, Measured]
    """Measurements on builds with other bytes, by sha256."""
    fallback: Fallback | None
    census: Census
    """What the engine decides by value."""
    sequential: bool = False
    """Was there a look every `LOOK` samples, and a stop as soon as these decided?"""
    history: History | None = None
    """Earlier runs on this engine; None if there were none."""
    class_margin: float | None = None
    """The largest drop allowed in any class, a fraction of its samples; None if classes do not decide."""
    answers: Answers | None = None
    """How sure the engine was of its answers; None if that was not asked."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.truth)

    def right(self, model: str) -> Flags:
        """Where (n,) the model is right on clean inputs."""
        right: Flags = self.clean[model] == 0
        return right

    @classmethod
    def read(cls, value: Value) -> Measured:
        """Read the `measured` half of an untrusted report.

        Raises:
            BundleError: malformed; the message names the path.
        """
        engine, raised = value["engine"], value.get("raised")
        if (bridged := engine.get("bridged")) is not None and not bridged.texts():
            raise bridged.expected("a difference")
        labels, sources = value["labels"].texts(), [item["name"].text() for item in value["sources"].items()]
        models = [*SIDES, *sources]
        if not labels or len(set(models)) < len(models):
            raise value["sources" if labels else "labels"].expected("each name once")
        n = len(value["truth"].items())
        if not n:
            raise value["truth"].expected("samples")
        value["clean"].only(*models)
        margin = value["margin"].number()
        if not 0 < margin < 1:
            raise value["margin"].expected("a number between 0 and 1")
        reference, step = value["reference"].get("sha256"), engine.get("step")
        retrieval, builds, rebuilt = value.get("retrieval"), value.get("rebuilds"), {}
        if builds is not None:
            builds.only("builds", "measured")
            rebuilt = {name: read_build(builds["measured"][name], name) for name in builds["measured"].object()}
        listed = [] if builds is None else [item.sha256() for item in builds["builds"].items()]
        own = engine["sha256"].sha256()
        if builds is not None and (listed[:1] != [own] or {*listed} - {own} != {*rebuilt}):
            raise builds["builds"].expected("this engine first, and no build that was not measured")
        attacks = [AttackResult.read(item, n, len(labels), models) for item in value["attacks"].items()]
        for item in first_attacks(attacks).values():
            if lacking := set(models) - set(item.ranks):
                raise value["attacks"].malformed(f"lacks ranks of {min(lacking)} for the first attack")
        return cls(
            engine=own,
            precision=engine["precision"].text(),
            step=None if step is None else step.text(),
            reference=None if reference is None else reference.sha256(),
            sources=sources,
            margin=margin,
            labels=labels,
            truth=value["truth"].integers(n, len(labels)),
            clean={model: value["clean"][model].integers(n, len(labels)) for model in models},
            attacks=attacks,
            drift=Drift.read(value["drift"], n),
            neighbours=read_neighbours(value["neighbours"], n),
            anchor=read_anchor(value["anchor"], n),
            calibration=None if value["calibration"].value is None else Calibration.read(value["calibration"], n),
            checks=read_checks(value["checks"]),
            raised=NOTHING_RAISED if raised is None else Raised.read(raised),
            curve=read_curves(value.get("curve"), n),
            retrieval=None if retrieval is None else Retrieval.read(retrieval, n),
            builds=listed,
            rebuilt=rebuilt,
            fallback=read_fallback(value.get("fallback")),
            census=read_census(engine),
            sequential=read_sequential(value.get("sequential"), n),
            history=None if value.get("history") is None else History.read(value),
            class_margin=read_class_margin(value.get("per_class_margin")),
            answers=None if value.get("answers") is None else Answers.read(value["answers"], n),
        )


def read_build(value: Value, sha256: str) -> Measured:
    """Read another build of the engine."""
    value.only(*BUILD, *BUILD_IF_PRESENT)
    if value["engine"]["sha256"].text() != sha256:
        raise value["engine"]["sha256"].expected(sha256)
    return Measured.read(value)


def read_sequential(value: Value | None, n: int) -> bool:
    """Read how often a sequential run looked, and the number of samples at which it would have ended."""
    if value is None:
        return False
    value.only("every", "at_most")
    if value["every"].integer() != LOOK:
        raise value["every"].expected(str(LOOK))
    if value["at_most"].integer() < n:
        raise value["at_most"].expected(f"at least {n}, the samples of this report")
    return True


def read_anchor(value: Value, n: int) -> NDArray[np.float64] | None:
    """Read the distances of the reference from the stored embeddings."""
    if value.value is None:
        return None
    distance = value.numbers(n)
    if (distance < 0).any():
        raise value.items()[int((distance < 0).argmax())].expected("0 or more")
    return distance


def read_checks(value: Value) -> dict[str, Check]:
    """Read every check that is measured on the engine, and judge it again."""
    names = measured_checks()
    value.only(*names)
    return {name: read_check(name, value[name]) for name in names}


def read_neighbours(value: Value, n: int) -> Rank:
    """Read the places of the nearest neighbours of the first samples, at most n."""
    m = min(n, GALLERY)
    return value.integers(m, m)


def read_class_margin(value: Value | None) -> float | None:
    """Read the margin per class."""
    if value is not None and not 0 < value.number() < 1:
        raise value.expected("a number between 0 and 1")
    return None if value is None else value.number()


def read_curves(value: Value | None, n: int) -> dict[Side, Curve] | None:
    """Read the curves of both sides, on at most n samples each."""
    if value is None:
        return None
    value.only(*SIDES)
    curves = {side: Curve.read(value[side]) for side in SIDES}
    for side, curve in curves.items():
        if len(curve.points[0].right) > n:
            raise value[side]["points"].expected(f"at most {n} samples")
    return curves


def read_fallback(value: Value | None) -> Fallback | None:
    """Read the steps of the precision fallback before this engine."""
    if value is None:
        return None
    value.only("asked", "earlier", "kept", "ranking")
    asked, earlier = value["asked"].text(), [FallbackStep.read(item) for item in value["earlier"].items()]
    if value.get("ranking") is None and value.get("kept") is None:
        return Fallback(asked, earlier)
    ranking = NodeRanking.read(value["ranking"])
    return Fallback(asked, earlier, read_kept(value["kept"], ranking), ranking)
