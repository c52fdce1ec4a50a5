"""What a level of the point encoder is made of: the description of a group, and attention among groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.unibind.point_sizes import Level


class Patch(nn.Module):
    """Groups (n, g, k, c) to tokens (n, g, width), whatever the order of the k neighbours (PointNet, arXiv:1612.00593).

    The maximum is `amax`, which shares a gradient among equals, where upstream's gives all of it to one of them.
    """

    def __init__(self, channels: int, level: Level) -> None:
        super().__init__()
        hidden, described, mixed = level.patch
        self.inner = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, described))
        self.mix = nn.Linear(2 * described, mixed)
        self.outer = nn.Linear(mixed, level.width)

    def forward(self, groups: Tensor) -> Tensor:
        described = self.inner(groups)
        whole = described.amax(2, keepdim=True)
        of_whole, of_each = self.mix.weight.chunk(2, dim=1)  # the half for the group is multiplied once a group
        mixed = F.linear(whole, of_whole, self.mix.bias) + F.linear(described, of_each)
        tokens: Tensor = self.outer(F.relu(mixed)).amax(2)
        return tokens


class Attention(nn.Module):
    """Self-attention over (n, t, width); `bias` (n, 1, t, t) is added to the scores of every head.

    Spelled out, because the exporter guards the fused kernel against rows that see nothing, which do not occur.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (
            torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        shares = torch.softmax(self.scale * query @ key.transpose(2, 3) + bias, dim=-1)
        out: Tensor = self.proj((shares @ value).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Pre-norm transformer block with the exact GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), bias)
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out
