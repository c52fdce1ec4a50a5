"""A function over more samples than fit into one pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BATCH = 200


def embed_all(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` over x (n, ...) in batches, without gradients."""
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.split(x, BATCH)])
