"""Learned tokens beside those of the input, in a trunk that is a transformer (VPT: Jia et al. 2022, arXiv 2203.12119).

They enter before the first block and leave after the last one, so that what follows sees the tokens it expects. They
cannot be merged into a weight: an engine computes them with every frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.calibrate.adapters.base import AdaptedModule, Context, Part, adapter, nothing_found
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.errors import ConfigError

START = 0.02  # standard deviation of the tokens before training, as of a transformer's position embeddings


class Prompted(Part):
    """A block, or the only one, behind which or before which learned tokens (p, width) join those of the input."""

    def __init__(self, block: nn.Module, tokens: Tensor | None, leaving: int) -> None:
        super().__init__()
        self.block = block
        self.tokens = None if tokens is None else nn.Parameter(tokens)
        self.leaving = leaving

    def forward(self, x: Tensor, *rest: Any, **named: Any) -> Any:
        if self.tokens is not None:
            x = torch.cat([x, self.tokens.expand(len(x), -1, -1)], dim=1)
        out = self.block(x, *rest, **named)
        if not self.leaving:
            return out
        if isinstance(out, tuple):
            return (self._own(out[0]), *out[1:])
        return self._own(out)

    def _own(self, tokens: Tensor) -> Tensor:
        """Without the learned tokens; the backward pass of an index would be a scatter."""
        own, _ = torch.split(tokens, [tokens.shape[1] - self.leaving, self.leaving], dim=1)
        return own


@adapter("prompt", merges=False)
def attach_prompt(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Add `config.tokens` learned tokens to the trunk's blocks."""
    blocks = find_blocks(model)
    norm = next((module for module in blocks[0].modules() if isinstance(module, nn.LayerNorm)), None)
    if norm is None:
        raise nothing_found(model, "prompt", "blocks with a LayerNorm, which tells their width")
    width = norm.normalized_shape[-1]
    tokens = START * torch.randn(config.tokens, width, generator=context.generator)
    last = len(blocks) - 1
    blocks[0] = Prompted(blocks[0], tokens, config.tokens if last == 0 else 0)
    if last:
        blocks[last] = Prompted(blocks[last], None, config.tokens)
    if context.clean is not None:
        _try(model, context.clean.x[:2])


def find_blocks(model: AdaptedModule) -> nn.Sequential | nn.ModuleList:
    """The list of equal blocks that has the most parameters, if they are blocks of a transformer.

    Raises:
        ConfigError: there is none.
    """
    lists = [
        module
        for module in model.trunk.modules()
        if isinstance(module, (nn.Sequential, nn.ModuleList))
        and len({type(block) for block in module}) == 1
        and any(isinstance(inner, nn.LayerNorm) for inner in module[0].modules())
        and not isinstance(module[0], (nn.LayerNorm, Part))
    ]
    if not lists:
        raise nothing_found(model, "prompt", "the blocks of a transformer in a list")
    return max(lists, key=lambda blocks: sum(value.numel() for value in blocks.parameters()))


def _try(model: AdaptedModule, x: Tensor) -> None:
    """Check that the trunk takes more tokens than it was made for."""
    try:
        with torch.no_grad():
            model(x)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"`--adapter prompt` gives the encoder's blocks more tokens, and they refuse them: {reason[:200]}",
            hint="leave out `prompt`: these blocks have a fixed number of tokens",
        ) from error
