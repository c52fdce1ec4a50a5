"""Backward of average pooling and of padding by copies, which are linear along each axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from advcal_edge.export.backward.axes import per_axis, spatial_axes
from advcal_edge.export.backward.linear import Operator, matrix_of, pull_back_axes, resample
from advcal_edge.export.backward.registry import aten, backward


@backward(aten.avg_pool2d_backward.default, aten.avg_pool3d_backward.default)
def average_pool_back(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """A window's divisor is the product of its lengths along the axes, so the axes separate."""
    axes = spatial_axes(x, kernel)

    def along(k: int, s: int, p: int) -> Operator:
        fixed = None if divisor is None else 1
        return lambda unit: F.avg_pool2d(
            unit.unsqueeze(-2), (1, k), (1, s), (0, p), ceil_mode, count_include_pad, fixed
        ).squeeze(-2)

    settings = zip(*(per_axis(value or kernel, axes) for value in (kernel, stride, padding)), strict=True)
    back = pull_back_axes(grad, x.shape[-axes:], [along(*values) for values in settings])
    return back if divisor is None else back / divisor


@backward(aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default)
def adaptive_average_pool(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The forward operator too: ONNX has none for a grid that does not divide the input."""
    return resample(
        x, [matrix_of(adaptive(out), size) for out, size in zip(sizes, x.shape[-len(sizes) :], strict=True)]
    )


@backward(aten._adaptive_avg_pool2d_backward.default, aten._adaptive_avg_pool3d_backward.default)
def adaptive_average_pool_back(grad: Tensor, x: Tensor) -> Tensor:
    """Each cell's gradient goes to its window, divided by the number of values there."""
    axes = 2 if x.ndim == 4 else 3
    return pull_back_axes(grad, x.shape[-axes:], [adaptive(out) for out in grad.shape[-axes:]])


@backward(*(getattr(aten, f"reflection_pad{axes}d_backward").default for axes in (1, 2, 3)))
def reflection_pad_back(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """What is mirrored at a border adds to its original."""
    return padding_back(grad, x, padding, "reflect")


@backward(*(getattr(aten, f"replication_pad{axes}d_backward").default for axes in (1, 2, 3)))
def replication_pad_back(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """What repeats the border adds to it."""
    return padding_back(grad, x, padding, "replicate")


def padding_back(grad: Tensor, x: Tensor, padding: Sequence[int], mode: str) -> Tensor:
    """Backward of padding by copies; `padding` starts with the last axis."""
    axes = len(padding) // 2

    def along(axis: int) -> Operator:
        before, after = padding[2 * axis], padding[2 * axis + 1]
        return lambda unit: F.pad(unit, (before, after), mode=mode)

    return pull_back_axes(grad, x.shape[-axes:], [along(axis) for axis in reversed(range(axes))])


def adaptive(out: int) -> Operator:
    """Adaptive average pooling of one axis to `out` cells."""
    return lambda unit: F.adaptive_avg_pool1d(unit, out)
