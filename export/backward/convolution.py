"""Convolution backward, with respect to the input only: parameters are frozen."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from advcal_edge.errors import ExportError
from advcal_edge.export.backward.axes import per_axis
from advcal_edge.export.backward.registry import aten, backward


@backward(aten.convolution_backward.default)
def convolve_back(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Of a convolution, a transposed one; of a transposed convolution, a plain one.

    Raises:
        ExportError: a parameter that is not frozen.
    """
    if mask[1] or mask[2]:
        raise ExportError("only the input's gradient of a convolution exports; freeze the parameters")
    axes = weight.ndim - 2
    stride, padding, dilation = (per_axis(value, axes) for value in (stride, padding, dilation))
    back: Tensor
    if transposed:
        back = aten.convolution.default(grad, weight, None, stride, padding, dilation, False, [0] * axes, groups)
        for axis in range(2, 2 + axes):  # an output padding of a stride or more adds windows
            back = back.narrow(axis, 0, x.shape[axis]) if back.shape[axis] != x.shape[axis] else back
        return back, None, None
    missing = [  # rows that strided windows do not reach; the transposed convolution must add them again
        int(x.shape[2 + i])
        - ((int(grad.shape[2 + i]) - 1) * stride[i] - 2 * padding[i] + dilation[i] * (int(weight.shape[2 + i]) - 1) + 1)
        for i in range(axes)
    ]
    back = aten.convolution.default(grad, weight, None, stride, padding, dilation, True, missing, groups)
    return back, None, None
