"""Backward operators as plain forward ones: one translation each, registered beside its definition.

Autograd records operators that no runtime has (`max_pool2d_with_indices_backward`), or whose usual decomposition adds
into scattered places, which TensorRT rejects. The translations here consist of matrix products, convolutions, slices,
padding and elementwise arithmetic. Each takes what autograd hands to the operator; sizes other than the batch are
numbers. What has no translation here keeps torch's own decomposition.
"""

from __future__ import annotations

from torch._decomp import core_aten_decompositions

# imported for their registrations
from advcal_edge.export.backward import (
    activation,
    adaptive_pooling,
    convolution,
    cropping,
    indexing,
    pooling,
    resampling,
)
from advcal_edge.export.backward.registry import KEPT, TRANSLATIONS, Table

__all__ = [
    "activation",
    "adaptive_pooling",
    "convolution",
    "cropping",
    "decompositions",
    "indexing",
    "pooling",
    "resampling",
]


def decompositions() -> Table:
    """What replaces each operator while forward and backward are traced."""
    table: Table = dict(core_aten_decompositions())
    return {operator: table[operator] for operator in table.keys() - KEPT} | TRANSLATIONS
