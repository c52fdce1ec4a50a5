"""What every trunk is built of: attention and pre-norm blocks as matrix products, normalisation and softmax alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention over (n, t, width); with `bias_kv` one learned key and value are seen by every query."""

    def __init__(self, width: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_k = nn.Parameter(0.02 * torch.randn(1, 1, width)) if bias_kv else None
        self.bias_v = nn.Parameter(0.02 * torch.randn(1, 1, width)) if bias_kv else None

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.expand(x.shape[0], -1, -1)], dim=1)
            value = torch.cat([value, self.bias_v.expand(x.shape[0], -1, -1)], dim=1)
        out: Tensor = self.proj(attend(query, key, value, self.heads))
        return out


class Block(nn.Module):
    """Pre-norm transformer block; the MLP is four times as wide, with the exact (erf) GELU."""

    def __init__(self, width: int, heads: int, bias_kv: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads, bias_kv)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention of query (n, t, width) to key and value (n, s, width), the heads side by side: (n, t, width)."""
    mixed = F.scaled_dot_product_attention(_split(query, heads), _split(key, heads), _split(value, heads))
    return mixed.transpose(1, 2).flatten(2)


def _split(x: Tensor, heads: int) -> Tensor:
    """(n, t, width) to (n, heads, t, width / heads)."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)
