"""Backward of cutting a piece out of an axis: zeros around it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from advcal_edge.export.backward.registry import aten, backward


@backward(aten.slice_backward.default)
def slice_back(grad: Tensor, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Tensor:
    """Zeros between the rows of a stride, then before and after."""
    dim %= len(sizes)
    size, count = sizes[dim], grad.shape[dim]
    if count == size:  # everything, as in `x[:, 3]` of its first axis; the only case in which a size is symbolic
        return grad
    if start < 0:
        start = max(start + size, 0)
    return extend(spread(grad, dim, step), dim, start, size - start - count * step)


@backward(aten.select_backward.default)
def select_back(grad: Tensor, sizes: Sequence[int], dim: int, index: int) -> Tensor:
    """Zeros before and after the one row."""
    dim %= len(sizes)
    index = index + sizes[dim] if index < 0 else index
    return extend(grad.unsqueeze(dim), dim, index, sizes[dim] - 1 - index)


@backward(aten.constant_pad_nd.default)
def pad(x: Tensor, amounts: Sequence[int], value: float = 0) -> Any:
    """Negative amounts, which the backward of padding has, as slices: not every runtime has them in its padding."""
    if all(amount >= 0 for amount in amounts):
        return NotImplemented
    for i in range(len(amounts) // 2):
        x = extend(x, x.ndim - 1 - i, amounts[2 * i], amounts[2 * i + 1], value)
    return x


def spread(x: Tensor, dim: int, step: int) -> Tensor:
    """`step - 1` rows of zeros after each row."""
    if step == 1:
        return x
    return extend(x.unsqueeze(dim + 1), dim + 1, 0, step - 1).flatten(dim, dim + 1)


def extend(x: Tensor, dim: int, before: int, after: int, value: float = 0) -> Tensor:
    """Rows of `value` before and after those of an axis; a negative number removes rows."""
    cut_before, cut_after = max(-before, 0), max(-after, 0)
    if cut_before or cut_after:
        x = x.narrow(dim, cut_before, x.shape[dim] - cut_before - cut_after)
    before, after = max(before, 0), max(after, 0)
    if before or after:
        x = aten.constant_pad_nd.default(x, [0, 0] * (x.ndim - 1 - dim) + [before, after], value)
    return x
