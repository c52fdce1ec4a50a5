"""Contradictions within the measurements of a report: attacks that differ from its budget, parts that disagree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from advcal_edge.report.measured import Measured
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

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "PGD": {"steps": "pgd_steps"},
    "APGD": {"steps": "apgd_steps", "restarts": "apgd_restarts"},
    "TargetedAPGD": {"steps": "apgd_steps"},
    "Square": {"queries": "square_queries"},
    "RayS": {"queries": "label_queries"},
}
"""Per attack: the number of the budget that each of its settings must equal."""

Contradiction = tuple[Value, str]
"""A value, and the value it should have."""


def contradictions(document: Value, measured: Measured) -> Iterator[Contradiction]:
    """Find every part of the `measured` half of a report that another part contradicts.

    Raises:
        BundleError: malformed.
    """
    yield from budget_contradictions(document, measured.attacks)
    yield from missing_attacks(document, measured.attacks)
    yield from missing_looks(document, measured.attacks)
    yield from curve_contradictions(document, measured)
    yield from identity_contradictions(document)
    yield from calibration_contradictions(document, measured)
    yield from fallback_contradictions(document, measured)
    yield from gallery_contradictions(document, measured)


def is_named(budget: Value) -> bool:
    """Is the budget one of `BUDGETS`, with the same numbers and losses?"""
    numbers = dict(budget.object())
    name, losses = numbers.pop("name", None), numbers.pop("losses", None)
    named = BUDGETS.get(name) if isinstance(name, str) else None
    return named is not None and (losses, numbers) == (list(named[0]), named[1])


def budget_contradictions(document: Value, attacks: Sequence[AttackResult]) -> Iterator[Contradiction]:
    """Check steps, restarts and queries of the attacks, and the losses of APGD, against the budget."""
    budget = document["budget"]
    budget["name"].text()
    listed = budget["losses"].texts()
    numbers = {key: budget[key].integer() for key in (*NUMBERS, *budget.object()) if key not in ("name", "losses")}
    losses = set()
    for value, item in zip(document["attacks"].items(), attacks, strict=True):
        name, settings = attack_settings(item.attack)
        if name == "APGD" and "loss" in settings:
            losses.add(settings["loss"])
        for setting, key in SETTINGS.get(name, {}).items():
            key = "difference_steps" if item.route == "difference" and setting == "steps" else key
            if setting in settings and settings[setting] != str(numbers[key]):
                yield value["attack"], f"{setting}={numbers[key]}, the budget's {key}"
    if losses and losses != set(listed):
        yield budget["losses"], f"those of APGD in the attacks: {', '.join(sorted(losses))}"


def missing_attacks(document: Value, attacks: Sequence[AttackResult]) -> Iterator[Contradiction]:
    """Check that every attack of the budget ran on both sides, as far as there was a gradient."""
    budget, run = document["budget"], {(item.route, kind(item), item.crafted_on) for item in attacks}
    routes = {(route, side) for route, _, side in run}
    seeing = [side for side in SIDES if any((route, side) in routes for route in WHITE_BOX)]
    blind = {"black box": "square_queries", "label only": "label_queries"}
    if len(seeing) == len(SIDES):
        blind["difference"] = "difference_steps"
    wanted = {(route, side) for route, number in blind.items() if budget[number].integer() for side in SIDES}
    for route, side in sorted(wanted - routes):
        yield document["attacks"], f"the {route} attack of the budget, crafted on {side}"
    named = ["PGD ce", *(f"APGD {loss}" for loss in budget["losses"].texts() if budget["apgd_steps"].integer())]
    named += ["TargetedAPGD"] if budget["targets"].integer() else []
    for side in seeing:
        for name in named:
            if ("gradient" if side == "engine" else "transfer", name, side) not in run:
                yield document["attacks"], f"{name} of the budget, crafted on {side}"


def missing_looks(document: Value, attacks: Sequence[AttackResult]) -> Iterator[Contradiction]:
    """Check that inputs were judged again in every way."""
    for name in missing_variants(attacks):
        yield document["attacks"], f"inputs judged again, {name}"


def kind(item: AttackResult) -> str:
    """An attack and the loss that its budget names, like `APGD margin`."""
    name, settings = attack_settings(item.attack)
    return f"{name} {settings['loss']}" if name in ("PGD", "APGD") and "loss" in settings else name


def attack_settings(attack: str) -> tuple[str, dict[str, str]]:
    """`APGD(steps=10, loss='ce')` as its name and settings."""
    name, _, inside = attack.partition("(")
    return name, dict(re.findall(r"\b(\w+)='?([^,')]*)", inside))


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
