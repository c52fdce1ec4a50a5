"""The table of translations; each registers itself under the operators that it replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

aten = torch.ops.aten
Table = dict[Any, Callable[..., Any]]
Function = TypeVar("Function", bound=Callable[..., Any])

TRANSLATIONS: Table = {}

KEPT = frozenset(
    {
        aten.native_layer_norm.default,  # one operator in the forward half, which TensorRT runs in one kernel
        aten.native_layer_norm_backward.default,  # spelled out later, from the forward operator's input
        *(getattr(aten, f"{mode}_pad{axes}d").default for mode in ("reflection", "replication") for axes in (1, 2, 3)),
        aten.roll.default,  # slices and a concatenation in ONNX; torch's own is a gather
    }
)
"""Operators that torch would decompose and that ONNX has in a better form."""


def backward(*operators: Any) -> Callable[[Function], Function]:
    """Register a function as the translation of `operators`, whose arguments it takes.

    It may return NotImplemented for arguments that it does not translate; the operator then stays as it is.
    """

    def register(function: Function) -> Function:
        for operator in operators:
            if operator in TRANSLATIONS:
                raise ValueError(f"`{operator}` has two translations: {TRANSLATIONS[operator]} and {function}")
            TRANSLATIONS[operator] = function
        return function

    return register
