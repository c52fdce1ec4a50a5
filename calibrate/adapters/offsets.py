"""Offsets on weights: on the scales and shifts of the normalisation layers, or on every weight there is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from advcal_edge.calibrate.adapters.base import (
    AdaptedModule,
    Context,
    Part,
    adapter,
    nothing_found,
    parametrize_weight,
    stem_of,
)
from advcal_edge.calibrate.config import AdapterConfig

NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)


class Offset(Part):
    """W + D with D zero at the start."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.delta


@adapter("norms", merges=True)
def attach_norms(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Train the scales and shifts of all normalisation layers, and the bias of the stem if it has one."""
    stem = stem_of(model)
    layers = [module for module in model.trunk.modules() if isinstance(module, NORMS) and _vectors(module)]
    if not layers:
        raise nothing_found(model, "norms", "normalisation layers with a scale or a shift")
    for module in layers:
        for name in _vectors(module):
            parametrize_weight(module, name, Offset(getattr(module, name).shape))
    if stem is not None and config.stem and stem.bias is not None:
        parametrize_weight(stem, "bias", Offset(stem.bias.shape))


@adapter("full", merges=True)
def attach_offsets(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Train every weight of the trunk: full fine-tuning, the ceiling that other parts are compared with."""
    every = [(module, name) for module in model.trunk.modules() for name in _own(module)]
    if not every:
        raise nothing_found(model, "full", "weights")
    for module, name in every:
        parametrize_weight(module, name, Offset(getattr(module, name).shape))


def _own(module: nn.Module) -> list[str]:
    """Names of the weights of a module itself, as they are outside of parametrizations."""
    if isinstance(module, (parametrize.ParametrizationList, Part)):
        return []
    lists = getattr(module, "parametrizations", None)
    changed = list(lists) if isinstance(lists, nn.ModuleDict) else []
    plain = [name for name, value in module.named_parameters(recurse=False) if value.is_floating_point()]
    return [*changed, *plain]


def _vectors(module: nn.Module) -> list[str]:
    if parametrize.is_parametrized(module):
        return []
    return [name for name, _ in module.named_parameters(recurse=False)]
