"""Robust accuracy over the radius: it must fall, and end at nothing (Carlini et al. 2019, arXiv 1902.06705)."""

from __future__ import annotations

from itertools import pairwise

from advcal_edge.stats import tango, wilson
from advcal_edge.verify.check import NO_GRADIENT, Measurement, check
from advcal_edge.verify.curve import Curve

FALLING_LIMIT = 0.02  # bindlite, five sensors, n = 32: no rise and nothing left; a dead gradient leaves 16 of 32


@check(order=140, at_most=FALLING_LIMIT)
def falls_to_zero(curve: Curve | None) -> Measurement:
    """The largest rise between neighbouring radii, or what is left at the last: lower bounds, the worse of the two.

    A larger ball holds the smaller one, so an attack that finds less in it was misled; and at the last radius every
    input can become any other.
    """
    if curve is None:
        return Measurement(None, NO_GRADIENT)
    n, last = len(curve.points[0].right), int(curve.points[-1].right.sum())
    rises = [
        (int((after.right & ~before.right).sum()), int((before.right & ~after.right).sum()))
        for before, after in pairwise(curve.points)
    ]
    bound = max(tango(gained, lost, n).low for gained, lost in rises)
    why = f"95 % lower bound of a rise of robust accuracy with the radius, or of the rest at the last ({last} of {n})"
    return Measurement(max(bound, wilson(last, n).low), why)
