"""Building blocks of trunks with ImageBind's structure: pre-norm blocks, exact GELU, LayerNorm with eps 1e-6.

Attention is one fused product, and the learned extra key and value are plain concatenation, so that graph and backward
pass neither gather nor scatter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6


class Attention(nn.Module):
    """Self-attention over (n, t, width).

    With `bias_kv` every query also attends to one learned key and value; with `causal` not to later tokens.
    """

    def __init__(self, width: int, heads: int, bias_kv: bool, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_k = _small(1, 1, width) if bias_kv else None
        self.bias_v = _small(1, 1, width) if bias_kv else None

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.expand(x.shape[0], -1, -1)], dim=1)
            value = torch.cat([value, self.bias_v.expand(x.shape[0], -1, -1)], dim=1)
        out: Tensor = self.proj(attend(query, key, value, self.heads, causal=self.causal))
        return out


class Block(nn.Module):
    """Attention, then an MLP of four times the width, each after its norm."""

    def __init__(self, width: int, heads: int, bias_kv: bool, *, causal: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width, heads, bias_kv, causal=causal)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


def stack(depth: int, width: int, heads: int, *, bias_kv: bool = False, causal: bool = False) -> nn.Sequential:
    """`depth` blocks, (n, t, width) to (n, t, width)."""
    return nn.Sequential(*(Block(width, heads, bias_kv, causal=causal) for _ in range(depth)))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """Attention of query (n, t, width) to key and value (n, s, width), with heads side by side: (n, t, width)."""
    mixed = F.scaled_dot_product_attention(
        _split(query, heads), _split(key, heads), _split(value, heads), is_causal=causal
    )
    return mixed.transpose(1, 2).flatten(2)


def _small(*shape: int) -> nn.Parameter:
    """Random start values. Not normal ones: on the meta device those import 800 modules of torch, 65 MB."""
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.uniform_(parameter, -0.03, 0.03)
    return parameter


def _split(x: Tensor, heads: int) -> Tensor:
    """(n, t, width) to (n, heads, t, width / heads)."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)
