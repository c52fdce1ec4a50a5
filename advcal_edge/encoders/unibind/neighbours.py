"""Which points are near, and their values: a gather whose backward pass is one matrix product.

The derivative of a gather is a scatter-add, which TensorRT does not parse and CUDA adds up in an order of its own. An
index is therefore taken apart into row and column of a board, and what was gathered is added up at its place by the
product of two one-hot matrices: as many multiplications as with one one-hot matrix of all places, in a fraction of its
memory (24576 indices into 8192 points: 44 MB instead of 805).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """(n, l, r) between points (n, l, 3) and (n, r, 3), from their differences: near ones lose no digits."""
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
    """(n, places, c): at each place the sum of those rows (n, r, c) whose index (n, r) names it."""
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
