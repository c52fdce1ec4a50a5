"""How much the constants of a graph amplify values: a step that is smooth in name takes a very large factor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from advcal_edge.runtime.backends.graph_scan import Node
from advcal_edge.verify.census.fact import Fact
from advcal_edge.verify.census.operators import AVERAGES, MOVES, NORMALISES, PRODUCTS

LARGEST = 1e30
SLOPED = frozenset({"HardSigmoid", "LeakyRelu", "Elu", "ThresholdedRelu", "FusedConv"})
"""Operators with a slope `alpha`."""
SCALE_INPUT: Mapping[str, int] = {
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"), 1),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "GroupNorm", "SkipGroupNorm"), 1),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), 2),
}
"""The input of a normalisation that scales its output; others have none."""


def gain_of(node: Node, given: Sequence[Fact], before: float) -> float:
    """Amplification behind a node whose inputs are amplified by `before`.

    Elementwise operators multiply it. A product with weights begins anew with its largest weight, and so does a
    normalisation with its scale: deep networks multiply hundreds of weights without being steep.
    """
    found = raw_gain(node, given, before)
    return LARGEST if math.isnan(found) else min(max(found, 0.0), LARGEST)


def raw_gain(node: Node, given: Sequence[Fact], before: float) -> float:
    """The same, which may be infinite, or not a number."""
    operator, constants = node.op, [fact for fact in given if fact.constant]
    if operator in MOVES | AVERAGES:
        return before
    if operator == "Mul":
        return before * max((fact.peak for fact in constants), default=1.0)
    if operator == "Div":
        by = given[1] if len(given) > 1 else Fact()
        return before / by.least if by.constant else 1.0
    if operator == "Add":
        return before * (2.0 if len(set(node.inputs)) < len(node.inputs) else 1.0)
    if operator == "Pow":
        return before * max((fact.peak for fact in constants), default=1.0)
    if operator == "DequantizeLinear" and len(given) > 1 and given[1].constant and given[0].step:
        return before * given[1].peak / given[0].step
    if operator in NORMALISES:
        place = SCALE_INPUT.get(operator, len(given))
        return given[place].peak if place < len(given) and given[place].constant else 1.0
    if operator == "BatchNormalization" and len(given) > 4:
        variance = 1.0 if given[4].range is None else given[4].range[0]
        return before * given[1].peak / math.sqrt(max(variance + attribute(node, "epsilon", 1e-5), 1e-12))
    if operator in PRODUCTS:
        return gain_of_product(node, given)
    return before * (max(abs(attribute(node, "alpha", 1.0)), 1.0) if operator in SLOPED else 1.0)


def gain_of_product(node: Node, given: Sequence[Fact]) -> float:
    """The largest weight of a product; 1 if it is not known, as for integers, whose scale comes later."""
    if node.op.startswith("QLinear"):
        return given[3].peak * given[4].peak if len(given) > 4 and given[3].constant else 1.0
    if "Integer" in node.op or node.op in ("DynamicQuantizeMatMul", "QGemm", "MatMulNBits", "QAttention"):
        return 1.0
    weights = given[1] if len(given) > 1 else Fact()
    return weights.peak * abs(attribute(node, "alpha", 1.0)) if weights.constant else 1.0


def attribute(node: Node, name: str, default: float) -> float:
    """The first number of an attribute."""
    return next(iter(node.numbers.get(name, ())), default)
