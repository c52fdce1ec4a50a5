"""Functions that are computed in another way while autograd is traced, since the backward of torch's way scatters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from advcal_edge.export.backward.linear import Operator, matrix_of, resample

AVERAGES = {F.adaptive_avg_pool1d: 1, F.adaptive_avg_pool2d: 2, F.adaptive_avg_pool3d: 3}
"""Functions and their axes."""


class WithoutScatter(TorchFunctionMode):
    """Inside, three functions on the path of the gradient are computed in a way that can be pulled back.

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
        parts = (
            x.narrow(axis, size - before, before) if before else None,
            x,
            x.narrow(axis, 0, after) if after else None,
        )
        x = torch.cat([part for part in parts if part is not None], axis)
    return x
