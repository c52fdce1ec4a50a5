"""GELU backward, and softmax."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor

from advcal_edge.export.backward.registry import aten, backward


@backward(aten.gelu_backward.default)
def gelu_back(grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """Derivative of GELU, exact or in its tanh form (arXiv:1606.08415)."""
    if approximate == "tanh":
        inner = sqrt(2 / pi) * (x + 0.044715 * x * x * x)
        slope = sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
        tanh = torch.tanh(inner)
        return grad * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * slope)
    cdf = 0.5 * (1 + torch.erf(x * sqrt(0.5)))
    density = torch.exp(-0.5 * x * x) * (1 / sqrt(2 * pi))
    return grad * (cdf + x * density)


@backward(aten._safe_softmax.default)
def softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Plain softmax, in place of the one that handles fully masked rows, which these encoders do not have."""
    out: Tensor = aten._softmax.default(x, dim, False)
    return out
