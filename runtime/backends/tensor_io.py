"""Declared inputs and outputs of an engine, and the checks of arrays before a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.spec import FLOAT32

FLOAT = "float32"


class TensorSignature(NamedTuple):
    """One input or output as the engine declares it; a fixed axis is an int."""

    name: str
    type: str
    """NumPy's name, like `float16` or `uint8`; the runtime's own for a type that NumPy lacks."""
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        return f"`{self.name}` {self.type} ({', '.join('?' if axis is None else str(axis) for axis in self.shape)})"

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Is this a float32 batch of `shape` with a free batch axis?"""
        free = bool(self.shape) and not isinstance(self.shape[0], int)
        return self.type == FLOAT and free and self.shape[1:] == shape

    @property
    def width(self) -> int | None:
        """d, if this is float32 (n, d) with a fixed d; else None."""
        last = self.shape[-1] if self.type == FLOAT and len(self.shape) == 2 else None
        return last if isinstance(last, int) else None


def describe_batch(shape: tuple[int, ...]) -> str:
    """A float32 batch of `shape` as text, for messages."""
    return f"float32 ({', '.join(('n', *map(str, shape)))})"


def check_batch(name: str, x: object, shape: tuple[int, ...]) -> None:
    """Refuse an array that would be cast: the sample that is judged must be the sample that is stored.

    Raises:
        InputError: not a float32 batch of `shape`.
    """
    if not (isinstance(x, np.ndarray) and x.dtype == FLOAT32 and x.shape[1:] == shape):
        found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise InputError(f"`{name}` is {found}; expected {describe_batch(shape)}")
