"""The point encoder: groups of neighbours on three scales, a transformer on each, and the way into ImageBind's space.

The points come in farthest-point order, as `runtime.preprocess` makes them. So the farthest-point sample of any size is
the first so many points, on every scale, and no loop of sampling is in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import load_exactly
from advcal_edge.encoders.unibind.neighbours import gather, nearest, squared_distances
from advcal_edge.encoders.unibind.point_blocks import Block, Patch
from advcal_edge.encoders.unibind.point_names import merge_norms, published_names
from advcal_edge.encoders.unibind.point_sizes import Level, PointConfig
from advcal_edge.errors import InputError

UNSEEN = -1e4
"""Added to a score, leaves nothing of it after the softmax; half precision holds it."""


class Stage(nn.Module):
    """Groups (n, g, k, c) around centers (n, g, 3) to tokens (n, g, width)."""

    def __init__(self, channels: int, level: Level, config: PointConfig) -> None:
        super().__init__()
        self.level = level
        self.patch = Patch(channels, level)
        self.place = nn.Sequential(nn.Linear(3, level.width), nn.GELU(), nn.Linear(level.width, level.width))
        self.blocks = nn.ModuleList(Block(level.width, config.heads) for _ in range(config.depth))

    def forward(self, groups: Tensor, centers: Tensor) -> Tensor:
        fixed = centers.detach()
        apart = squared_distances(fixed, fixed) >= self.level.radius**2
        bias = torch.where(apart, UNSEEN, 0.0)[:, None]
        place = self.place(centers)
        tokens: Tensor = self.patch(groups)
        for block in self.blocks:
            tokens = block(tokens + place, bias)
        return tokens


class PointTrunk(nn.Module):
    """Clouds (n, points, 3) in the unit sphere, in farthest-point order, to an embedding (n, d) of any length."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        widths = [level.width for level in config.levels]
        stages = zip([3, *widths[:-1]], config.levels, strict=True)
        self.config = config
        self.stages = nn.ModuleList(Stage(channels, level, config) for channels, level in stages)
        self.norm = nn.LayerNorm(widths[-1])
        self.bridge = nn.Linear(widths[-1], config.bridge, bias=False)
        self.head_norm = nn.LayerNorm(config.bridge, eps=1e-6)
        self.head = nn.Linear(config.bridge, config.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] != self.config.points or x.shape[2] != 3:
            raise InputError(f"point clouds are {tuple(x.shape)}; expected (n, {self.config.points}, 3)")
        tokens = self.norm(self.describe(x))
        embedding: Tensor = self.head(self.head_norm(self.bridge(tokens.mean(1) + tokens.amax(1))))
        return embedding

    def describe(self, x: Tensor) -> Tensor:
        """Tokens (n, g, width) of the coarsest level."""
        points, values = x, x
        for number, stage in enumerate(self.stages):
            level = self.config.levels[number]
            # a slice's derivative would be written as a scatter, that of a split is a concatenation
            centers = torch.split(points, [level.groups, points.shape[1] - level.groups], dim=1)[0]
            groups = gather(values, nearest(points, centers, level.neighbours))
            if number == 0:
                groups = groups - centers[:, :, None]
            points, values = centers, stage(groups, centers)
        return values

    def load_upstream(self, checkpoint: Mapping[str, Tensor], where: str) -> None:
        """Take this encoder's tensors, under the names that `published_names` lists, its batch norms merged.

        Raises:
            InputError: tensors are missing, left over, or of another shape.
        """
        load_exactly(self, merge_norms(checkpoint, len(self.stages), where), where, published_names(self.state_dict()))
