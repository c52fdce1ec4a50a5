"""How a sensor's tensor becomes tokens (n, t, width)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.encoders.imagebind.sizes import TrunkConfig


class Windows(nn.Module):
    """Windows of a series (n, c, length), as many values of each channel as the kernel is long."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.count = config.grid[0]
        self.project = nn.Linear(config.shape[0] * config.kernel[0], config.width, bias=False)
        self.norm = nn.LayerNorm(config.width) if config.stem_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        windows = torch.unflatten(x, -1, (self.count, -1)).transpose(1, 2).flatten(2)
        out: Tensor = self.norm(self.project(windows))
        return out


class Patches(nn.Module):
    """Patches of a plane (n, c, h, w) or a clip (n, c, t, h, w), row by row; they overlap where strides are short."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        convolution: type[nn.Conv2d | nn.Conv3d] = nn.Conv2d if len(config.kernel) == 2 else nn.Conv3d
        sizes: Any = {"kernel_size": config.kernel, "stride": config.stride}
        self.repeats = config.repeats
        self.project = convolution(config.shape[0], config.width, bias=False, **sizes)
        self.norm = nn.LayerNorm(config.width) if config.stem_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.repeats > 1:
            x = torch.cat([x.unsqueeze(2)] * self.repeats, dim=2)  # stacked, its backward pass would be a gather
        out: Tensor = self.norm(self.project(x).flatten(2).transpose(1, 2))
        return out
