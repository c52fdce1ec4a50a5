"""Checks and curves that contradict the rest of their report, or the constants of this version."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from advcal_edge.report.checks import CHECKED, LOWEST
from advcal_edge.report.measured import Measured
from advcal_edge.report.results import CURVE_ATTACK, DRAWN, MULTIPLES, SIDES, Curve, Side
from advcal_edge.report.value import Value

Difference = tuple[Value, str]
BATCHES = 0.05
"""Share of the samples of a check whose label may differ from that in the block: other batches choose other kernels."""


def check_contradictions(document: Value, measured: Measured) -> Iterator[Difference]:
    """Every check, and every curve, that was not measured as this version measures it."""
    repeats = document["expectation"].integer() == 1
    for name, least in LOWEST.items():
        value = document["checks"][name].get("value")
        if value is not None and value.value is not None and value.number() < least:
            yield value, f"{least:g} or more"
    if repeats:
        yield from other_samples(document, measured)
    yield from other_rounding(document["checks"]["survives_rounding"], measured)
    for side in SIDES if measured.curve is not None else ():
        yield from other_curve(document, measured, side, repeats=repeats)


def other_samples(document: Value, measured: Measured) -> Iterator[Difference]:
    """Comparisons of attacks run on the samples that are right among the first `CHECKED`."""
    right = int(measured.right("engine")[:CHECKED].sum())
    for name in measured.checks:
        samples = document["checks"][name].get("samples")
        if samples is not None and abs(samples.integer() - right) > allowed(CHECKED):
            yield samples, f"{right}, those of the first {CHECKED} that the engine gets right"


def other_rounding(stated: Value, measured: Measured) -> Iterator[Difference]:
    """Rounding is tried on one input for each sample that anything fools."""
    fooled = np.zeros(measured.n, np.bool_)
    for item in measured.attacks:
        fooled |= item.fools("engine")
    if stated["fooled"].integer() != int(fooled.sum()):
        yield stated["fooled"], f"{int(fooled.sum())}, the samples that fool the engine"


def other_curve(document: Value, measured: Measured, side: Side, *, repeats: bool) -> Iterator[Difference]:
    """A curve has fixed multiples of the radius, one attack, and the first `DRAWN` samples, clean ones at radius 0."""
    stated, curve = document["curve"][side], (measured.curve or {})[side]
    if curve.attack != CURVE_ATTACK:
        yield stated["attack"], CURVE_ATTACK
    if not same_radii(curve, document["threat"]["eps"].number()):
        yield stated["points"], f"radii of {', '.join(f'{m:g}' for m in MULTIPLES)} times eps, and the whole width"
    n, found = min(DRAWN, measured.n), curve.points[0].right
    if len(found) != n:
        yield stated["points"], f"the first {n} samples"
    elif repeats and int((found != measured.right(side)[:n]).sum()) > allowed(n):
        yield stated["points"].items()[0]["right"], "the clean labels of these samples"


def same_radii(curve: Curve, eps: float) -> bool:
    """Are the radii the usual multiples of eps, below the last one, which is checked elsewhere?"""
    radii = [point.eps for point in curve.points]
    wanted: Sequence[float] = [m * eps for m in MULTIPLES if m * eps < radii[-1]]
    return len(wanted) == len(radii) - 1 and all(map(math.isclose, wanted, radii))


def allowed(n: int) -> int:
    """How many of n labels may differ between two batches."""
    return math.ceil(BATCHES * n)
