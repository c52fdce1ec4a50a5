"""From a frozen trunk and settings to the module that training changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from advcal_edge.calibrate.adapters.base import AdaptedModule
from advcal_edge.calibrate.adapters.head import attach_head
from advcal_edge.calibrate.adapters.identity import attach_identity
from advcal_edge.calibrate.adapters.lora import attach_lora
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.registry import choose

PARTS: Mapping[str, Callable[[AdaptedModule, AdapterConfig, int, torch.Generator], None]] = {
    "identity": attach_identity,
    "head": attach_head,
    "lora": attach_lora,
}


def attach_adapter(trunk: nn.Module, config: AdapterConfig, embedding_dim: int, seed: int) -> AdaptedModule:
    """Take `trunk` over, freeze it, and add the parts of `config`, which compute the identity until they are trained.

    Raises:
        ConfigError: an unknown part.
    """
    model, generator = AdaptedModule(trunk), torch.Generator().manual_seed(seed)
    for part in config.parts:
        choose("adapter", part, PARTS)(model, config, embedding_dim, generator)
    return model
