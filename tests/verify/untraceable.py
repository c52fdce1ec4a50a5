"""Half of bindlite with a gradient that no exporter can follow: an encoder for `--encoder untraceable:encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import Bindlite
from advcal_edge.spec import Modality
from advcal_edge.storage import sha256_bytes


class DataDependent(torch.autograd.Function):
    """The identity; its backward pass branches on the data, which autograd runs and a tracer refuses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (g,) = gradients
        return g if float(g.abs().sum()) >= 0 else -g


class Untraceable(nn.Module):
    """The first and last block of the trunk behind it."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        trunk.blocks = nn.Sequential(*trunk.blocks[:1], *trunk.blocks[-1:])
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.trunk(DataDependent.apply(x))
        return z


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Implements `Encoder`."""

    inner: Bindlite
    name: str = "untraceable:encoder"
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
        return Untraceable(self.inner.module()).eval().requires_grad_(False)


def encoder(modality: str, weights: Path | None = None) -> Encoder:
    return Encoder(Bindlite.load(modality, weights))
