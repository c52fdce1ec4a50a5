"""The control: an adapter that changes nothing, so that any gain or loss beside it is the machinery's."""

from __future__ import annotations

import torch

from advcal_edge.calibrate.adapters.base import AdaptedModule
from advcal_edge.calibrate.config import AdapterConfig


def attach_identity(model: AdaptedModule, config: AdapterConfig, dim: int, generator: torch.Generator) -> None:
    """Leave `model` as it is."""
