"""Backward of picking by index: a matrix product with the one-hot matrix of the indices, in place of a scatter.

That matrix has as many entries as picked rows times rows to pick from. Beyond `LARGEST` the operator stays a scatter,
which ONNX Runtime runs and TensorRT rejects.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from advcal_edge.export.backward.linear import multiply_axis, plain_torch
from advcal_edge.export.backward.registry import aten, backward

LARGEST = 1 << 24
"""Entries of a one-hot matrix that all samples share: 64 MiB."""

LARGEST_OF_ONE = 1 << 16
"""Entries of a one-hot matrix that each row of each sample has for itself."""


@backward(aten.index_put.default, aten._unsafe_index_put.default)
def put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    """Backward of `x[:, rows]` and `x[:, rows, columns]`: neighbouring axes, and the same indices for all samples."""
    dims = [dim for dim, index in enumerate(indices) if index is not None]
    picked = [index for index in indices if index is not None]
    if not accumulate or dims != list(range(dims[0], dims[-1] + 1)) or any(not is_position(index) for index in picked):
        return NotImplemented
    sizes = [x.shape[dim] for dim in dims]
    if not all(isinstance(size, int) for size in sizes):  # the batch itself is picked from
        return NotImplemented
    flat = picked[0] % sizes[0]
    for index, size in zip(picked[1:], sizes[1:], strict=True):
        flat = flat * size + index % size
    rows = flat.numel()
    if not isinstance(rows, int) or rows * prod(sizes) > LARGEST:
        return NotImplemented
    before, after = x.shape[: dims[0]], x.shape[dims[-1] + 1 :]
    values = values.expand(*before, *flat.shape, *after).reshape(*before, rows, *after)
    return x + multiply_axis(values, dims[0], one_hot(flat.flatten(), prod(sizes), values.dtype)).reshape(x.shape)


@backward(aten.index_add.default)
def add_rows(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Any:
    """Backward of `index_select`."""
    size, rows = x.shape[dim], index.numel()
    if not isinstance(size, int) or not isinstance(rows, int) or rows * size > LARGEST:
        return NotImplemented
    added = multiply_axis(source, dim % x.ndim, one_hot(index.flatten(), size, source.dtype))
    return x + (added if alpha == 1 else alpha * added)


@backward(aten.scatter_add.default)
def scatter_add(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Any:
    """Backward of `gather`, whose indices differ from row to row."""
    chosen = one_hot_rows(x, dim, index, source)
    return NotImplemented if chosen is None else x + fill(chosen, dim, source)


@backward(aten.scatter.src)
def scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Any:
    """Backward of `max`, `sort` and `topk`, whose indices differ from each other."""
    chosen = one_hot_rows(x, dim, index, source)
    if chosen is None:
        return NotImplemented
    return x * (1 - fill(chosen, dim, torch.ones_like(source))) + fill(chosen, dim, source)


@backward(aten.unfold_backward.default)
def unfold_back(grad: Tensor, sizes: Sequence[int], dim: int, size: int, step: int) -> Tensor:
    """Backward of `Tensor.unfold`, windows (..., count, ..., size) of an axis."""
    dim %= len(sizes)
    count, length = int(grad.shape[dim]), int(sizes[dim])
    with plain_torch():
        rows = (torch.arange(count)[:, None] * step + torch.arange(size)).flatten()
        chosen = one_hot(rows, length, grad.dtype)
    return multiply_axis(grad.movedim(-1, dim + 1).flatten(dim, dim + 1), dim, chosen)


@backward(aten.diagonal_backward.default)
def diagonal_back(grad: Tensor, sizes: Sequence[int], offset: int, dim1: int, dim2: int) -> Tensor:
    """The diagonal (..., count) as a matrix with zeros beside it."""
    dim1, dim2 = dim1 % len(sizes), dim2 % len(sizes)
    height, width, count = int(sizes[dim1]), int(sizes[dim2]), int(grad.shape[-1])
    with plain_torch():
        steps = torch.arange(count)
        cells = (steps + max(-offset, 0)) * width + steps + max(offset, 0)
        chosen = one_hot(cells, height * width, grad.dtype)
    placed = multiply_axis(grad, grad.ndim - 1, chosen).reshape(*grad.shape[:-1], height, width)
    return placed.movedim((-2, -1), (dim1, dim2))


def is_position(index: Tensor) -> bool:
    """Are these whole numbers? A mask's picks differ in number from sample to sample."""
    return index.dtype in (torch.int64, torch.int32)


def one_hot(index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(..., size): one at each index, zero elsewhere; negative indices count from the end."""
    return (torch.remainder(index, size).unsqueeze(-1) == torch.arange(size)).to(dtype)


def one_hot_rows(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor | None:
    """(..., picks, size) of indices along `dim`; None where that is too large, or rows are left out."""
    size, picks = x.shape[dim], index.shape[dim]
    if not isinstance(size, int) or not isinstance(picks, int) or size * picks > LARGEST_OF_ONE:
        return None
    others = [axis for axis in range(x.ndim) if axis != dim % x.ndim]
    if any(index.shape[axis] != x.shape[axis] for axis in others) or index.shape != source.shape:
        return None
    return one_hot(index.movedim(dim, -1), size, source.dtype)


def fill(chosen: Tensor, dim: int, source: Tensor) -> Tensor:
    """Add `source` into zeros where the one-hot rows say, along `dim`."""
    return (source.movedim(dim, -1).unsqueeze(-2) @ chosen).squeeze(-2).movedim(-1, dim)
