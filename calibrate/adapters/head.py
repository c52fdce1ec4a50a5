"""A trainable head behind the encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advcal_edge.calibrate.adapters.base import AdaptedModule, Context, Part, adapter
from advcal_edge.calibrate.config import AdapterConfig


class ResidualHead(Part):
    """z + z A^T B^T with A (r, d) and B (d, r); B starts at zero, so the head starts as the identity."""

    def __init__(self, dim: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, dim, generator=generator) * dim**-0.5)
        self.up = nn.Parameter(torch.zeros(dim, rank))

    def forward(self, z: Tensor) -> Tensor:
        return z + z @ self.down.T @ self.up.T


def linear_head(dim: int) -> nn.Linear:
    """d -> d with bias, starting as the identity (the head of UniBind, arXiv 2403.12532)."""
    with torch.random.fork_rng(devices=[]):  # its random initialisation is discarded and must not change a seeded run
        head = nn.Linear(dim, dim)
    with torch.no_grad():
        head.weight.copy_(torch.eye(dim))
        head.bias.zero_()
    return head


@adapter("head", merges=False)
def attach_head(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Give `model` a trainable head of `config.head_rank`, or a full one for rank 0.

    Cheap, but weak on its own: a head cannot restore what an attack destroys before it.
    """
    dim, rank = context.dim, config.head_rank
    model.head = ResidualHead(dim, rank, context.generator) if rank else linear_head(dim)
