"""Half of bindlite with weights that one reduced precision cannot bear: encoders for `--encoder overflowing:NAME`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import Bindlite
from advcal_edge.spec import Modality
from advcal_edge.storage import sha256_bytes

FIRM = 600.0  # a query times a key, over the root of the head's 24 dimensions: 73485
OUTLIER = 4000.0  # one of 127 steps of int8 is then 31, and all other values of the tensor become 0
LARGE = 2.0**16  # a power of two, so that fp32 loses nothing on the way up and down


def raise_scores(trunk: nn.Module) -> None:
    """Give a head of the last block the same query and key for every token: a mean of values, by scores above 65504."""
    attention = trunk.blocks[-1].attention
    width = attention.proj.in_features
    for start in (0, width):  # queries, then keys
        head = slice(start, start + width // attention.heads)
        attention.qkv.weight[head] = 0
        attention.qkv.bias[head] = 0
        attention.qkv.bias[start] = FIRM


def enlarge_values(trunk: nn.Module) -> None:
    """Scale the values of the last block up and its projection down: the same function, by values above 65504."""
    attention = trunk.blocks[-1].attention
    width = attention.proj.in_features
    attention.qkv.weight[2 * width :] *= LARGE
    attention.qkv.bias[2 * width :] *= LARGE
    attention.proj.weight /= LARGE


def add_outlier(trunk: nn.Module) -> None:
    """Give the last MLP a hidden unit that is always large and never read: its second product loses all others."""
    block = trunk.blocks[-1]
    block.fc1.weight[0] = 0
    block.fc1.bias[0] = OUTLIER
    block.fc2.weight[:, 0] = 0


@dataclass(frozen=True, slots=True, eq=False)
class Overflowing:
    """Implements `Encoder`."""

    name: str
    change: Callable[[nn.Module], None]
    inner: Bindlite
    embedding_dim: int = 384
    license: str = "Apache-2.0"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modality(self) -> Modality:
        return self.inner.modality

    @property
    def fingerprint(self) -> str:
        return sha256_bytes(f"{self.name} {self.inner.fingerprint}".encode())

    def centers(self) -> Centers | None:
        return self.inner.centers()

    def module(self) -> nn.Module:
        trunk = self.inner.module()
        # the gradient of all four blocks takes half a minute to trace
        trunk.blocks = nn.Sequential(*trunk.blocks[:1], *trunk.blocks[-1:])
        with torch.no_grad():
            self.change(trunk)
        return trunk


def attention(modality: str, weights: Path | None = None) -> Overflowing:
    return Overflowing("overflowing:attention", raise_scores, Bindlite.load(modality, weights))


def last_block(modality: str, weights: Path | None = None) -> Overflowing:
    return Overflowing("overflowing:last_block", enlarge_values, Bindlite.load(modality, weights))


def outlier(modality: str, weights: Path | None = None) -> Overflowing:
    return Overflowing("overflowing:outlier", add_outlier, Bindlite.load(modality, weights))
