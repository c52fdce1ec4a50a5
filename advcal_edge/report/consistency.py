"""Contradictions within the measurements of a report: attacks that differ from its budget, parts that disagree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from advcal_edge.report.answers import answers_contradictions
from advcal_edge.report.check_contradictions import check_contradictions
from advcal_edge.report.implied import KNOWN, BudgetNumbers, attack_settings
from advcal_edge.report.measured import Measured
from advcal_edge.report.replay import replayed
from advcal_edge.report.results import SIDES, WHITE_BOX, AttackResult
from advcal_edge.report.second_look import missing_variants
from advcal_edge.report.value import Value
from advcal_edge.storage import canonical, sha256_bytes

NAMES: Mapping[str, tuple[str, ...]] = {
    "quick": ("ce", "margin"),
    "standard": ("ce", "margin"),
    "full": ("ce", "margin", "dlr"),
}
"""Budgets and their losses: `quick` for a build server, `standard` for a release, `full` for a publication."""

NUMBERS: Mapping[str, tuple[int, int, int]] = {
    # budget: quick, standard, full
    "pgd_steps": (10, 20, 100),
    "pgd_restarts": (1, 1, 5),
    "apgd_steps": (10, 50, 100),
    "apgd_restarts": (1, 1, 5),
    "targets": (0, 3, 3),  # classes that targeted APGD aims at
    "difference_steps": (5, 20, 100),
    "square_queries": (50, 1000, 5000),
    "label_queries": (50, 1000, 5000),
}
"""One description per number of an attack plan."""

BUDGETS: Mapping[str, tuple[tuple[str, ...], Mapping[str, int]]] = {
    name: (losses, {number: values[column] for number, values in NUMBERS.items()})
    for column, (name, losses) in enumerate(NAMES.items())
}
"""Losses and numbers of each budget, by name."""

Contradiction = tuple[Value, str]
"""A value, and the value it should have."""


def contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Find every part of the `measured` half of a report that another part contradicts.

    Raises:
        BundleError: malformed.
    """
    yield from other_attacks(document, measured)
    yield from replayed(document, measured)
    yield from check_contradictions(document, measured)
    yield from missing_looks(document, measured.attacks)
    yield from curve_contradictions(document, measured)
    yield from identity_contradictions(document)
    yield from calibration_contradictions(document, measured)
    yield from fallback_contradictions(document, measured)
    yield from gallery_contradictions(document, measured)
    yield from rule_contradictions(document, measured)


def other_attacks(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Compare the attacks with those that the budget implies for the gradients there were: each once, in order.

    Attacks that somebody registered may come on top.
    """
    document["budget"]["name"].text()
    implied = numbers_of(document["budget"], measured)
    must, may = attacked_first(document, measured)
    found, rows = set(), []
    for value, item in zip(document["attacks"].items(), measured.attacks, strict=True):
        if item.attack == implied.first() and item.route in WHITE_BOX and item.crafted_on not in found:
            found.add(item.crafted_on)
        elif attack_settings(item.attack)[0] in KNOWN:
            rows.append((value["attack"], (item.route, item.attack, item.crafted_on)))
    for model in sorted(must - found):
        yield document["attacks"], f"{implied.first()} of the budget, crafted on {model}"
    for model in sorted(found - must - may):
        yield document["attacks"], f"no attack by the gradient of {model}, which has none"
    wanted, run = list(later_attacks(implied, must)), [row for _, row in rows]
    for route, attack, model in wanted:
        if (route, attack, model) not in run:
            yield document["attacks"], f"the {route} attack of the budget {attack}, crafted on {model}"
    for position, (value, row) in enumerate(rows):
        if row not in wanted or row in run[:position]:
            yield value, f"an attack that the budget has, once; not a {row[0]} attack on {row[2]} more"
    if sorted(run) == sorted(wanted) and run != wanted:
        yield document["attacks"], "the attacks in the order in which they run"


def numbers_of(budget: Value, measured: Measured) -> BudgetNumbers:
    """The numbers that a report states of its budget."""
    number = {key: budget[key].integer() for key in (*NUMBERS, *budget.object()) if key not in ("name", "losses")}
    return BudgetNumbers(number, budget["losses"].texts(), len(measured.labels))


def rule_contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Check the margins from which the rule follows; a run that may stop at any time has no rule."""
    if measured.answers is None:
        return
    if measured.sequential:
        yield document["answers"], "nothing: the bound needs a number of samples that is fixed beforehand"
        return
    implied, rank = numbers_of(document["budget"], measured), measured.clean["engine"]
    yield from answers_contradictions(document, measured.answers, measured.attacks, rank, measured.drift, implied)


def attacked_first(document: Value, measured: Measured) -> tuple[set[str], set[str]]:
    """Models whose own gradient must have led an attack, and those whose gradient the report does not tell of.

    A torch module has a gradient. Engines of the bundle share a backward pass; a backward plan serves its own engine.
    """
    engine, reference = document["engine"], document["reference"]
    must = {"engine"} if engine["gradient"].value is not None else set()
    if reference["kind"].text() == "torch" or reference.get("gradient_from") is not None:
        must.add("reference")
    source = engine.get("gradient_from")
    shared = bool(must & {"engine"}) and (source is None or source.value != "plan")
    kinds = {item["name"].text(): item["kind"].text() for item in document["sources"].items()}
    must |= {name for name, kind in kinds.items() if shared or kind == "torch"}
    return must, set(measured.sources) - must


def missing_looks(document: Value, attacks: Sequence[AttackResult]) -> Iterator[Contradiction]:
    """Check that inputs were judged again in every way."""
    for name in missing_variants(attacks):
        yield document["attacks"], f"inputs judged again, {name}"


def later_attacks(implied: BudgetNumbers, seeing: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Route, attack and model of every attack after the first ones, in the order of `verify.crafting`."""
    for side, white in (("reference", "transfer"), ("engine", "gradient")):
        for attack in implied.attacks("gradient") if side in seeing else ():
            yield white, attack, side
        if side == "engine" and set(SIDES) <= set(seeing):
            for other in reversed(SIDES):
                yield from (("difference", attack, other) for attack in implied.attacks("difference"))
        for route in ("black box", "label only"):
            yield from ((route, attack, side) for attack in implied.attacks(route))


def curve_contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Check that both curves include the tested radius and reach the whole width, and that a gradient has a curve."""
    eps, norm = document["threat"]["eps"], document["threat"]["norm"].choice(("linf", "l2"))
    if eps.number() <= 0:
        raise eps.expected("a positive radius")
    if measured.curve is None:
        if any(item.route == "gradient" for item in measured.attacks):
            yield document["attacks"], "a curve of accuracy against the radius beside them"
        return
    for side in SIDES:
        radii = [point.eps for point in measured.curve[side].points]
        if eps.number() not in radii:
            yield eps, f"a radius of the {side}'s curve"
        if norm == "linf" and radii[-1] != 1:
            yield document["curve"][side]["points"].items()[-1]["eps"], "1"


def identity_contradictions(document: Value) -> Iterator[Contradiction]:
    """Compare hashes that the document states twice."""
    hashes, engine, environment = document["hashes"], document["engine"], document["environment"]
    if hashes["engine"].sha256() != engine["sha256"].text():
        yield hashes["engine"], engine["sha256"].text()
    digest = sha256_bytes(canonical({name: environment[name].text() for name in environment.object()}))
    if hashes["environment"].sha256() != digest:
        yield hashes["environment"], digest
    gradient = hashes["gradient"]
    if (engine["gradient"].value is None) is not (gradient.value is None):
        yield gradient, "null" if engine["gradient"].value is None else "a hash"
    yield from gradient_contradictions(engine, document["reference"])


def calibration_contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Check that the stated worst case is held against an attack at its own threat model, or one that bounds it."""
    stated, threat = measured.calibration, document["threat"]
    if stated is None:
        return
    if stated.answered_by(threat["norm"].text(), threat["eps"].number()) is not (stated.attacked is None):
        expected = "null" if stated.attacked is not None else f"an attack at {stated.norm} {stated.eps:.6g}"
        yield document["calibration"]["attacked"], expected


def gradient_contradictions(engine: Value, reference: Value) -> Iterator[Contradiction]:
    """Check where the backward pass is said to come from; if the reference is a torch module, it is that module."""
    source, gradient, plan = engine.get("gradient_from"), engine["gradient"], engine.get("plan")
    if source is None:
        return
    if gradient.value is None:
        yield source, "nothing, since there is no gradient"
        return
    kind = source.choice(("graph", "plan", "torch"))
    of_reference = reference["fingerprint"].text()
    if kind == reference["kind"].text() == "torch" and gradient.text() != of_reference:
        yield gradient, of_reference
    if plan is not None and (kind == "plan") is (plan["backward_sha256"].value is None):
        yield source, "plan" if kind != "plan" else "graph or torch, since there is no hash of a backward plan"


def fallback_contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Check that no step is repeated, and that the engine has the requested precision or fp32."""
    if measured.fallback is None:
        return
    steps = [item.step for item in measured.fallback.earlier]
    if measured.step is None or measured.step in steps or len(set(steps)) < len(steps):
        yield document["fallback"]["earlier"], "each step once, and the engine's own after them"
    asked = measured.fallback.asked
    if asked == "fp32" or measured.precision not in (asked, "fp32"):
        expected = measured.precision if measured.precision != "fp32" else "a reduced precision"
        yield document["fallback"]["asked"], expected


def gallery_contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Check that pictures show samples on which the engine is fooled, under their true labels."""
    fooled = np.zeros(measured.n, np.bool_)
    for item in measured.attacks:
        fooled |= item.fools("engine")
    for shown in document["gallery"].items():
        sample, truth = shown["sample"].integer(), shown["truth"].text()
        if sample >= measured.n or not fooled[sample]:
            yield shown["sample"], "a sample on which the engine is fooled"
        elif truth != measured.labels[measured.truth[sample]]:
            yield shown["truth"], measured.labels[measured.truth[sample]]
        if shown["after"].text() == truth:
            yield shown["after"], "another label than the true one"
