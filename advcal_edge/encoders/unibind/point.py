"""The point encoder: neighbour groups on three scales, a transformer on each, and the projection to ImageBind's space.

The points come in farthest-point order, as `runtime.sensors` makes them. So a farthest-point sample of any size is a
prefix of the points, on every scale, and the graph has no sampling loop.

Values of neighbours are gathered, and the derivative of a gather is a scatter-add, which TensorRT cannot parse and
which CUDA sums in arbitrary order. Here it is one matrix product: an index is split into row and column of a board, and
the gathered values are summed at their place by the product of two one-hot matrices. That takes as many multiplications
as one one-hot matrix of all places, in a fraction of its memory (24576 indices into 8192 points: 44 MB instead of 805).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.checkpoint import load_exactly
from advcal_edge.encoders.unibind.point_config import Level, PointConfig, merge_norms, published_names
from advcal_edge.errors import InputError

UNSEEN = -1e4
"""Added to a score, it makes the softmax weight zero; representable in half precision."""


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
    """Clouds (n, points, 3) in the unit sphere, in farthest-point order, to an embedding (n, d), not normalised."""

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
            # a slice's derivative would be exported as a scatter; that of a split is a concatenation
            centers = torch.split(points, [level.groups, points.shape[1] - level.groups], dim=1)[0]
            groups = gather(values, nearest(points, centers, level.neighbours))
            if number == 0:
                groups = groups - centers[:, :, None]
            points, values = centers, stage(groups, centers)
        return values

    def load_upstream(self, checkpoint: Mapping[str, Tensor], where: str) -> None:
        """Assign this encoder's tensors, under the names in `published_names`, with its batch norms merged.

        Raises:
            InputError: tensors are missing, left over, or of another shape.
        """
        load_exactly(self, merge_norms(checkpoint, len(self.stages), where), where, published_names(self.state_dict()))


class Patch(nn.Module):
    """Groups (n, g, k, c) to tokens (n, g, width), for any order of the k neighbours (PointNet, arXiv:1612.00593).

    The maximum is `amax`, which splits a gradient among equals, while upstream's gives all of it to one of them.
    """

    def __init__(self, channels: int, level: Level) -> None:
        super().__init__()
        hidden, described, mixed = level.patch
        self.inner = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, described))
        self.mix = nn.Linear(2 * described, mixed)
        self.outer = nn.Linear(mixed, level.width)

    def forward(self, groups: Tensor) -> Tensor:
        described = self.inner(groups)
        whole = described.amax(2, keepdim=True)
        of_whole, of_each = self.mix.weight.chunk(2, dim=1)  # the half for the group is multiplied once per group
        mixed = F.linear(whole, of_whole, self.mix.bias) + F.linear(described, of_each)
        tokens: Tensor = self.outer(F.relu(mixed)).amax(2)
        return tokens


class Attention(nn.Module):
    """Self-attention over (n, t, width); `bias` (n, 1, t, t) is added to the scores of every head.

    Written out, because the exporter protects the fused kernel against fully masked rows, which do not occur.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (
            torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        shares = torch.softmax(self.scale * query @ key.transpose(2, 3) + bias, dim=-1)
        out: Tensor = self.proj((shares @ value).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Pre-norm transformer block with the exact GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), bias)
        out: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return out


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """(n, l, r) between points (n, l, 3) and (n, r, 3), from their differences, which keeps digits of near points."""
    across, along, up = (left[:, :, None, axis] - right[:, None, :, axis] for axis in range(3))
    return across * across + along * along + up * up


def nearest(points: Tensor, centers: Tensor, count: int) -> Tensor:
    """Indices (n, g, count) of the points (n, p, 3) nearest to each of the centers (n, g, 3), nearest first."""
    return squared_distances(centers.detach(), points.detach()).topk(count, largest=False).indices


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows (n, g, k, c) of values (n, p, c) at index (n, g, k)."""
    rows: Tensor = _Gather.apply(values, index.flatten(1))  # type: ignore[no-untyped-call]
    return torch.unflatten(rows, 1, (index.shape[1], index.shape[2]))


def add_up(rows: Tensor, index: Tensor, places: int) -> Tensor:
    """(n, places, c): at each place the sum of the rows (n, r, c) whose index (n, r) is that place."""
    channels = rows.shape[-1]
    columns = board_columns(places, channels)
    lines = math.ceil(places / columns)
    line = torch.div(index, columns, rounding_mode="floor")
    line_of = _one_hot(line, lines, rows)
    column_of = _one_hot(index - line * columns, columns, rows)
    spread = (column_of[..., None] * rows[:, :, None, :]).flatten(2)
    board = line_of.transpose(1, 2) @ spread
    return torch.unflatten(board, 2, (columns, channels)).flatten(1, 2)[:, :places]


def board_columns(places: int, channels: int) -> int:
    """The power of two that makes the two factors, lines and columns * channels wide, about equally large."""
    return int(2 ** round(math.log2(max(1.0, math.sqrt(places / channels)))))


def _one_hot(index: Tensor, classes: int, like: Tensor) -> Tensor:
    return (index[..., None] == torch.arange(classes, device=index.device)).to(like.dtype)


class _Gather(torch.autograd.Function):
    """values (n, p, c), index (n, r) -> (n, r, c)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.places = values.shape[1]
        return torch.gather(values, 1, index[..., None].expand(-1, -1, values.shape[2]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return add_up(grads[0], index, ctx.places), None
