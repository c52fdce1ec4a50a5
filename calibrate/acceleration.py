"""How an encoder is crafted on and trained: in bfloat16, compiled, or with checkpoints of its blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from advcal_edge.calibrate.config import TrainConfig
from advcal_edge.errors import ConfigError

BLOCKS = 3  # equal modules in a list from which on they count as the encoder's blocks


class Accelerated(nn.Module):
    """The same map (n, ...) -> (n, d) of unit norm, its products in bfloat16 on `autocast`, the type of a device.

    bfloat16 has float32's range, so losses need no scaling. Parameters stay in float32.
    """

    def __init__(self, module: nn.Module, autocast: str | None) -> None:
        super().__init__()
        self.module = module
        self.autocast = autocast

    def forward(self, x: Tensor) -> Tensor:
        if self.autocast is None:
            return cast(Tensor, self.module(x))
        with torch.autocast(self.autocast, torch.bfloat16):
            z: Tensor = self.module(x)
        return F.normalize(z.float(), dim=-1)


def accelerate(model: nn.Module, config: TrainConfig, device: torch.device) -> nn.Module:
    """`model` as crafting and training compute it; the same parameters.

    Raises:
        ConfigError: `train.checkpointing` finds no blocks.
    """
    if config.checkpointing:
        checkpoint_blocks(model)
    on_gpu = device.type == "cuda"
    accelerated = Accelerated(model, device.type if config.autocast and on_gpu else None)
    return cast(nn.Module, torch.compile(accelerated)) if config.compile else accelerated


def checkpoint_blocks(model: nn.Module) -> None:
    """Compute the inside of each block again in the backward pass (Chen et al. 2016, arXiv 1604.06174), in place.

    Raises:
        ConfigError: there are no blocks.
    """
    found = [*blocks_of(model)]
    if not found:
        raise ConfigError(
            "`train.checkpointing` finds no blocks in the encoder; expected a list of equal modules",
            hint="leave it out, and raise `train.parts` to save memory",
        )
    for block in found:
        block.forward = functools.partial(_again, block.forward)


def _again(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, **named)


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """The modules in lists of several equal ones, each with parameters; of lists inside lists, the outer."""
    for child in model.children():
        parts = [*child.children()]
        listed = isinstance(child, (nn.Sequential, nn.ModuleList)) and len(parts) >= BLOCKS
        if listed and len({type(part) for part in parts}) == 1 and any(True for _ in parts[0].parameters()):
            yield from parts
        else:
            yield from blocks_of(child)
