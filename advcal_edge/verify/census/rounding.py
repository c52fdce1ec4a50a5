"""Which casts and quantisers round so coarsely that they decide something; those of an int8 engine do not."""

from __future__ import annotations

from collections.abc import Sequence

from advcal_edge.runtime.backends.graph_scan import Node
from advcal_edge.verify.census.fact import Fact
from advcal_edge.verify.census.gain import attribute
from advcal_edge.verify.census.ranges import INTEGERS, SMALL_FLOATS

LEVELS = 16
"""Fewer steps across the range of a tensor are coarse. Static int8 has 127 at least: its scale fits what was seen."""
FLOAT = 1


def to_discrete(node: Node, given: Sequence[Fact]) -> bool:
    """Does a cast give integers or booleans, or floats as coarse as those?"""
    if node.op == "CastLike":
        return len(given) > 1 and given[1].discrete
    return attribute(node, "to", FLOAT) in INTEGERS | SMALL_FLOATS


def coarse(node: Node, given: Sequence[Fact]) -> bool:
    """Does a cast or a quantiser decide something by the values of its first input?"""
    if node.op in ("Cast", "CastLike"):
        return to_discrete(node, given) and not given[0].discrete
    step = step_of(node, given)
    if node.op == "FakeQuantize" and levels_of(node) < LEVELS:
        return True
    span = given[0].range
    return span is not None and step > 0 and (span[1] - span[0]) / step < LEVELS


def step_of(node: Node, given: Sequence[Fact]) -> float:
    """The step of a quantiser; 0 if it is not constant, or not known.

    OpenVINO's `FakeQuantize` has the ends of its range as further inputs.
    """
    if node.op == "QuantizeLinear" and len(given) > 1 and given[1].constant and given[1].range is not None:
        return given[1].peak
    if node.op == "FakeQuantize" and len(given) > 2 and all(fact.constant for fact in given[1:3]):
        low, high = given[1].range, given[2].range
        return 0.0 if low is None or high is None else (high[1] - low[0]) / max(levels_of(node) - 1, 1)
    return 0.0


def levels_of(node: Node) -> float:
    """The number of values that a `FakeQuantize` can give."""
    return attribute(node, "levels", 256.0)
