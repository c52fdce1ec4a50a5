"""Operators that multiply each axis by a constant matrix; their backward multiplies it by the transpose.

The matrix is found by applying the operator itself to unit vectors, so that alignment, rounding and borders are torch's
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._dispatch.python import no_python_dispatcher
from torch.utils._python_dispatch import _disable_current_modes

Operator = Callable[[Tensor], Tensor]
"""Linear along its last axis, x (n, 1, size)."""


def pull_back_axes(grad: Tensor, sizes: Sequence[int], operators: Sequence[Operator]) -> Tensor:
    """Gradient of an operator that applies `operators` along the last axes, of lengths `sizes`."""
    matrices = [matrix_of(operator, int(size)) for operator, size in zip(operators, sizes, strict=True)]
    return resample(grad, [transposed(matrix) for matrix in matrices])


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


def matrix_of(operator: Operator, size: int) -> Tensor:
    """The matrix (size, out), float64, of an operator."""
    with plain_torch():
        matrix: Tensor = operator(torch.eye(size, dtype=torch.float64).unsqueeze(1)).reshape(size, -1)
        return matrix.contiguous()


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a constant, itself a constant."""
    with plain_torch():
        return matrix.T.contiguous()


@contextmanager
def plain_torch() -> Iterator[None]:
    """Inside, tensors are real and nothing is traced, for constants that belong to a trace."""
    with _disable_current_modes(), no_python_dispatcher(), torch.no_grad():
        yield
