"""Max pooling backward: a window's gradient goes to its first maximum, as torch's does.

The maximum is found again by comparing the window's values with it, offset by offset, so that the graph needs no index
from the forward operator: TensorRT has none there. The gradients of all windows are put back by a transposed
convolution whose kernels have a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from advcal_edge.export.backward.axes import per_axis, spatial_axes
from advcal_edge.export.backward.cropping import extend
from advcal_edge.export.backward.linear import plain_torch
from advcal_edge.export.backward.registry import aten, backward

LOWEST = torch.finfo(torch.float32).min
"""In place of minus infinity outside the input, which times zero would not be a number."""


@backward(aten.max_pool2d_with_indices_backward.default, aten.max_pool3d_with_indices_backward.default)
def max_pool_back(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Compare the windows of the padded input with their maximum, and place their gradients."""
    axes = spatial_axes(x, kernel)
    kernel, padding, dilation = (per_axis(value, axes) for value in (kernel, padding, dilation))
    stride = per_axis(stride, axes) if stride else kernel
    outs = [int(out) for out in grad.shape[-axes:]]
    reach = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(outs, stride, dilation, kernel, strict=True)]
    padded = x
    for i in range(axes):
        dim = x.ndim - axes + i
        padded = extend(padded, dim, padding[i], reach[i] - int(x.shape[dim]) - padding[i], LOWEST)
    windows = [
        strided(
            padded,
            [(offset * d, (o - 1) * s + 1, s) for offset, d, o, s in zip(offsets, dilation, outs, stride, strict=True)],
        )
        for offsets in product(*map(range, kernel))
    ]
    parts = torch.stack(to_first_maximum(grad, windows), -axes - 1)
    back = place(parts, kernel, stride, dilation)
    for i in range(axes):
        dim = x.ndim - axes + i
        back = extend(back, dim, -padding[i], int(x.shape[dim]) + padding[i] - reach[i])
    return back


def strided(x: Tensor, pieces: Sequence[tuple[int, int, int]]) -> Tensor:
    """Cut (first, length, step) out of each of the last axes."""
    for i, (first, length, step) in enumerate(pieces):
        dim = x.ndim - len(pieces) + i
        x = aten.slice.Tensor(x, dim, first, first + length, step)
    return x


def to_first_maximum(grad: Tensor, windows: Sequence[Tensor]) -> list[Tensor]:
    """The gradient at the offset where a window has its first maximum and zero at its others, for each offset."""
    largest = windows[0]
    for window in windows[1:]:
        largest = torch.maximum(largest, window)
    parts, left = [], grad
    for window in windows[:-1]:
        part = left * (window == largest).to(grad.dtype)
        left = left - part
        parts.append(part)
    return [*parts, left]


def place(parts: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """Add parts (n, c, offsets, *outs) of windows into the place they come from; (n, c, *reach)."""
    axes = len(kernel)
    batched = parts.ndim == axes + 3
    parts = parts if batched else parts.unsqueeze(0)
    offsets, channels = int(parts.shape[2]), int(parts.shape[1])
    with plain_torch():
        one = torch.eye(offsets, dtype=parts.dtype).reshape(offsets, 1, *kernel)
        kernels = one.repeat(channels, *[1] * (axes + 1))
    parts = parts.flatten(1, 2)
    none = [0] * axes
    placed: Tensor = aten.convolution.default(
        parts, kernels, None, list(stride), none, list(dilation), True, none, channels
    )
    return placed if batched else placed.squeeze(0)
