"""Backward of operators that are linear along each axis: average pooling, padding by copies, interpolation.

Such an operator multiplies each axis by a constant matrix, and its backward by the transpose. The matrix is found by
applying the operator itself to unit vectors, so that alignment, rounding and borders are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._dispatch.python import no_python_dispatcher
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from advcal_edge.export.backward.axes import per_axis, spatial_axes
from advcal_edge.export.backward.registry import aten, backward

Operator = Callable[[Tensor], Tensor]


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


class LinearAxes(TorchFunctionMode):
    """Inside, three functions on the path of the gradient are computed in a way whose backward does not scatter.

    Torch traces an interpolation with a symbolic batch as a gather, circular padding as writes into an empty tensor,
    and an average over everything as a change of strides in place.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `function`, or what computes the same."""
        kwargs = kwargs or {}
        x = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if x is not None and x.requires_grad:
            if function is F.interpolate:
                return interpolate(*args, **kwargs)
            if function is F.pad and (kwargs.get("mode") or (args[2] if len(args) > 2 else "")) == "circular":
                return pad_circular(x, kwargs["pad"] if "pad" in kwargs else args[1])
            if function in AVERAGES:
                outs = kwargs["output_size"] if "output_size" in kwargs else args[1]
                if outs == 1 or (isinstance(outs, Sequence) and set(outs) == {1}):
                    return x.mean(list(range(-AVERAGES[function], 0)), keepdim=True)
        return function(*args, **kwargs)


AVERAGES = {F.adaptive_avg_pool1d: 1, F.adaptive_avg_pool2d: 2, F.adaptive_avg_pool3d: 3}
"""Functions and their axes."""


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`torch.nn.functional.interpolate` as a matrix product along each axis."""
    axes = input.ndim - 2
    settings: dict[str, Any] = {
        "mode": mode,
        "align_corners": align_corners,
        "recompute_scale_factor": recompute_scale_factor,
        "antialias": antialias,
    }

    def along(axis: int) -> Operator:
        name, value, one = ("scale_factor", scale_factor, 1.0) if size is None else ("size", size, 2)
        values = list(value) if isinstance(value, Sequence) else [value] * axes
        alone = [values[i] if i == axis else one for i in range(axes)]

        def apply(unit: Tensor) -> Tensor:
            # in as many axes as the input, since the mode belongs to their number; the others are two long and stay
            # so, since torch 2.13 mistakes an axis of one for channels and does not smooth along it
            shape = [-1 if i == axis else 2 for i in range(axes)]
            spread = unit.reshape(len(unit), 1, *(-1 if i == axis else 1 for i in range(axes)))
            resized = F.interpolate(spread.expand(-1, -1, *shape).contiguous(), **{**settings, name: alone})
            return resized[(..., *(slice(None) if i == axis else 0 for i in range(axes)))]

        return apply

    return resample(input, [matrix_of(along(axis), int(input.shape[2 + axis])) for axis in range(axes)])


def pad_circular(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Each axis continued by its other end."""
    for i in range(len(padding) // 2):
        axis, (before, after) = x.ndim - 1 - i, padding[2 * i : 2 * i + 2]
        size = x.shape[axis]
        x = torch.cat([x.narrow(axis, size - before, before), x, x.narrow(axis, 0, after)], axis)
    return x


def adaptive(out: int) -> Operator:
    """Adaptive average pooling of one axis to `out` cells."""
    return lambda unit: F.adaptive_avg_pool1d(unit, out)


def matrix_of(operator: Operator, size: int) -> Tensor:
    """The matrix (size, out), float64, of an operator that is linear along its last axis: x (n, 1, size)."""
    with plain_torch():
        matrix: Tensor = operator(torch.eye(size, dtype=torch.float64).unsqueeze(1)).reshape(size, -1)
        return matrix.contiguous()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside, tensors are real and nothing is traced, for constants that belong to a trace."""
    with _disable_current_modes(), no_python_dispatcher(), torch.no_grad():
        yield


def pull_back_axes(grad: Tensor, sizes: Sequence[int], operators: Sequence[Operator]) -> Tensor:
    """Gradient of an operator that applies `operators` along the last axes, of lengths `sizes`."""
    matrices = [matrix_of(operator, int(size)) for operator, size in zip(operators, sizes, strict=True)]
    return resample(grad, [transposed(matrix) for matrix in matrices])


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a constant, itself a constant."""
    with plain_torch():
        return matrix.T.contiguous()


def resample(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each of the last axes of `x` by its constant matrix (in, out)."""
    for i, matrix in enumerate(matrices):
        with plain_torch():
            matrix = matrix.to(x.dtype)
        x = multiply_axis(x, x.ndim - len(matrices) + i, matrix)
    return x


def multiply_axis(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """Multiply one axis of `x` by a matrix (in, out), as one product with the matrix on the right.

    On the left it would be repeated for each sample.
    """
    return (x.movedim(dim, -1) @ matrix).movedim(-1, dim)
