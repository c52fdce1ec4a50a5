"""A gradient that no exporter can follow: of any module, and of half of bindlite (`--encoder untraceable:encoder`)."""

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
    """The identity, with a backward pass that branches on its data: autograd runs it, and no tracer can follow it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (g,) = gradients
        return g if float(g.abs().sum()) >= 0 else -g


class Untraceable(nn.Module):
    """A module whose forward pass can be exported, and whose gradient cannot."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.module(DataDependent.apply(x))
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
        trunk = self.inner.module()
        trunk.blocks = nn.Sequential(*trunk.blocks[:1], *trunk.blocks[-1:])
        return Untraceable(trunk).eval().requires_grad_(False)


def encoder(modality: str, weights: Path | None = None) -> Encoder:
    return Encoder(Bindlite.load(modality, weights))
