"""Low-rank updates of the encoder's matrices: LoRA, and LoRA-XS in the basis of each matrix."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

from advcal_edge.calibrate.adapters.base import (
    MAPS,
    AdaptedModule,
    Context,
    Part,
    adapter,
    nothing_found,
    parametrize_weight,
    stem_of,
)
from advcal_edge.calibrate.config import AdapterConfig

CORE_SCALE = 0.5
WANTED = "linear maps, convolutions or multi-head attention"


class LowRank(Part):
    """W + (alpha / r) B A for W (o, ...) seen as (o, i), with A (r, i) random and B (o, r) zero at the start.

    Hu et al. 2021, arXiv 2106.09685.
    """

    def __init__(self, shape: torch.Size, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        inputs = prod(shape[1:])
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=generator) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class Core(Part):
    """W + U R V for W (o, ...) seen as (o, i): R (r, r) is trained and starts at zero, U (o, r) and V (r, i) are fixed.

    The columns of U and the rows of V are the singular vectors of the r largest singular values of W. U carries half
    their mean, so that a learning rate suits weights of any size. LoRA-XS: Balazy et al. 2024, arXiv 2405.17604.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, rank: int, *, decompose: bool) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        rank = min(rank, *matrix.shape)
        if decompose:
            u, sigma, v = torch.linalg.svd(matrix.float(), full_matrices=False)
            left, right = CORE_SCALE * sigma[:rank].mean() * u[:, :rank], v[:rank]
        else:
            left, right = matrix.new_zeros(len(matrix), rank), matrix.new_zeros(rank, matrix.shape[1])
        self.register_buffer("left", left.to(matrix.dtype).contiguous())
        self.register_buffer("right", right.to(matrix.dtype).contiguous())
        self.core = nn.Parameter(matrix.new_zeros(rank, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.left @ self.core @ self.right).view_as(weight)


@adapter("lora", merges=True)
def attach_lora(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Update every matrix of the trunk by B A of rank `config.rank`."""
    for module, name in _matrices(model, config, "lora"):
        shape = getattr(module, name).shape
        parametrize_weight(module, name, LowRank(shape, config.rank, config.alpha, context.generator))


@adapter("lora-xs", merges=True)
def attach_cores(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Update every matrix of the trunk in its own basis, by a core of `core_rank`, or of `stem_rank` in the stem."""
    stem = stem_of(model)
    for module, name in _matrices(model, config, "lora-xs"):
        rank = config.stem_rank if module is stem else config.core_rank
        part = Core(getattr(module, name), rank, decompose=context.clean is not None)
        parametrize_weight(module, name, part)


def _matrices(model: AdaptedModule, config: AdapterConfig, part: str) -> Iterator[tuple[nn.Module, str]]:
    """Modules of the trunk and their weights that take an update; multi-head attention has three in one.

    Raises:
        ConfigError: there are none.
    """
    found = [(module, name) for module in model.trunk.modules() for name in _weights(module)]
    if not config.stem:
        stem = stem_of(model)
        found = [(module, name) for module, name in found if module is not stem]
    if not found:
        raise nothing_found(model, part, WANTED)
    yield from found


def _weights(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.MultiheadAttention):
        return ("in_proj_weight",) if module.in_proj_weight is not None else ()
    return ("weight",) if isinstance(module, MAPS) else ()
