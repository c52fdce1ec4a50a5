"""Low-rank updates inside the encoder (Hu et al. 2021, arXiv 2106.09685), as parametrizations.

The stored weight stays where it is, untouched and frozen; what the module computes with is W + (alpha / r) B A.
Removing the parametrization leaves that sum behind: the merged encoder costs an engine nothing.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from advcal_edge.calibrate.adapters.base import AdaptedModule
from advcal_edge.calibrate.config import AdapterConfig


class LowRank(nn.Module):
    """W + (alpha / r) B A for W (o, ...) seen as (o, i), with A (r, i) random and B (o, r) zero at the start."""

    def __init__(self, shape: torch.Size, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        inputs = prod(shape[1:])
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=generator) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class Offset(nn.Module):
    """W + D with D zero at the start, for vectors, which have no rank to save."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.delta


def attach_lora(model: AdaptedModule, config: AdapterConfig, dim: int, generator: torch.Generator) -> None:
    """Update every linear map of the trunk and, as `config` says, its patch convolution and layer norms."""
    for module in list(model.trunk.modules()):
        for name in matrices(module, config):
            weight: Tensor = getattr(module, name)
            parametrize.register_parametrization(
                module, name, LowRank(weight.shape, config.rank, config.alpha, generator), unsafe=True
            )
        if config.norms and isinstance(module, nn.LayerNorm):
            for name, vector in list(module.named_parameters(recurse=False)):
                parametrize.register_parametrization(module, name, Offset(vector.shape), unsafe=True)


def matrices(module: nn.Module, config: AdapterConfig) -> tuple[str, ...]:
    """Names of the weights of `module` that get a low-rank update; multi-head attention keeps three in one."""
    if isinstance(module, nn.MultiheadAttention):
        return ("in_proj_weight",) if module.in_proj_weight is not None else ()
    if isinstance(module, nn.Linear):
        return ("weight",)
    if config.stem and isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return ("weight",)
    return ()


def merge(model: nn.Module) -> None:
    """Replace each parametrized weight by its present value, in place."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)  # noqa: S101
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
