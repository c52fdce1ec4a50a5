"""Adaptive max pooling and its backward; ONNX has neither.

A cell reaches from floor(i size / out) to ceil((i + 1) size / out). Where the grid divides the input, cells are blocks
of a reshaped input. Otherwise they are picked by index; a cell that is shorter than the longest repeats its last row,
which changes neither its maximum nor which value is the first to reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from advcal_edge.export.backward.indexing import one_hot
from advcal_edge.export.backward.linear import multiply_axis, plain_torch
from advcal_edge.export.backward.registry import aten, backward


@backward(aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def adaptive_max_pool(x: Tensor, outs: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The largest value of each cell, and its place in the flat input."""
    sizes = [int(size) for size in x.shape[-len(outs) :]]
    values = cells(x, sizes, outs)
    with plain_torch():
        places = cell_places(sizes, outs)
    largest = values.argmax(-1)
    return values.amax(-1), (one_hot(largest, values.shape[-1], torch.int64) * places).sum(-1)


@backward(aten.adaptive_max_pool2d_backward.default, aten.adaptive_max_pool3d_backward.default)
def adaptive_max_pool_back(grad: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """A cell's gradient at its first maximum."""
    axes = 2 if x.ndim == 4 else 3
    sizes, outs = [int(size) for size in x.shape[-axes:]], [int(out) for out in grad.shape[-axes:]]
    values = cells(x, sizes, outs)
    parts = grad.unsqueeze(-1) * one_hot(values.argmax(-1), values.shape[-1], grad.dtype)
    if divides(sizes, outs):
        blocks = parts.reshape(*parts.shape[:-1], *(size // out for size, out in zip(sizes, outs, strict=True)))
        lead = x.ndim - axes
        order = [lead + axis + part for axis in range(axes) for part in (0, axes)]
        return blocks.permute(*range(lead), *order).reshape(x.shape)
    with plain_torch():
        chosen = one_hot(cell_places(sizes, outs).flatten(), prod(sizes), grad.dtype)
    parts = parts.flatten(-axes - 1)
    return multiply_axis(parts, parts.ndim - 1, chosen).reshape(x.shape)


def divides(sizes: Sequence[int], outs: Sequence[int]) -> bool:
    """Are all cells of one size?"""
    return all(size % out == 0 for size, out in zip(sizes, outs, strict=True))


def cells(x: Tensor, sizes: Sequence[int], outs: Sequence[int]) -> Tensor:
    """The values (n, c, *outs, offsets) of all cells of x (n, c, *sizes)."""
    axes, lead = len(outs), x.ndim - len(outs)
    if divides(sizes, outs):
        split = [number for size, out in zip(sizes, outs, strict=True) for number in (out, size // out)]
        order = [lead + 2 * axis + part for part in (0, 1) for axis in range(axes)]
        return x.reshape(*x.shape[:lead], *split).permute(*range(lead), *order).flatten(lead + axes)
    windows = []
    with plain_torch():
        rows = [cell_rows(size, out) for size, out in zip(sizes, outs, strict=True)]
    for picked in product(*rows):
        window = x
        for axis, index in enumerate(picked):
            window = window.index_select(lead + axis, index)
        windows.append(window)
    return torch.stack(windows, -1)


def cell_rows(size: int, out: int) -> list[Tensor]:
    """The rows (out) of all cells of one axis at each offset in a cell."""
    first = torch.arange(out) * size // out
    last = (torch.arange(1, out + 1) * size + out - 1) // out - 1
    return [torch.minimum(first + offset, last) for offset in range(int((last - first).max()) + 1)]


def cell_places(sizes: Sequence[int], outs: Sequence[int]) -> Tensor:
    """Places (*outs, offsets) in the flat input of the values of all cells."""
    flat = torch.arange(prod(sizes)).reshape(1, 1, *sizes)
    return cells(flat, sizes, outs)[0, 0]
