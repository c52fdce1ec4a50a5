"""The first layer of a trunk: patches of whatever runs on a grid, learned queries for clouds of points.

A stem gives (n, width, ...) with any number of trailing axes; what they hold becomes the trunk's tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.transformer import attend

QUERIES = 16
"""Tokens that a cloud of points becomes, as many as an image of 64 x 64 has patches."""

CONVOLUTIONS: tuple[type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def patches(channels: int, width: int, kernel: tuple[int, ...]) -> nn.Module:
    """Patches that do not overlap, along one, two or three axes."""
    # overlapping patches (stride 12 for 16): 70 % slower, no more accurate in a short trial on images.
    # With a LayerNorm behind it a bias would be redundant; ImageBind has none either way.
    return CONVOLUTIONS[len(kernel) - 1](channels, width, kernel, kernel, bias=False)  # type: ignore[arg-type]


class PointStem(nn.Module):
    """Points (n, p, 3) to (n, width, 16): a small MLP on each point, then cross-attention from learned queries.

    The same in whatever order the points come (Lee et al. 2019, arXiv:1810.00825, pooling by attention); grouping by
    neighbourhood, the usual way, would gather and sort.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fc1 = nn.Linear(3, width)
        self.fc2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.kv = nn.Linear(width, 2 * width)
        self.queries = nn.Parameter(torch.randn(1, QUERIES, width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        points = self.norm(self.fc2(F.gelu(self.fc1(x))))
        key, value = self.kv(points).chunk(2, dim=-1)
        mixed = attend(self.queries.expand(x.shape[0], -1, -1), key, value, self.heads)
        out: Tensor = self.proj(mixed).transpose(1, 2)
        return out
