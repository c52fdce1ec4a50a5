"""The output of an engine made by others: which one holds the embeddings, and how they are read from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend
from advcal_edge.runtime.engine_input import FLOATS, text
from advcal_edge.runtime.misfit import wrong_shape

NORM_TOLERANCE = 1e-3  # the limit of the check `unit_norm`; normalised in half precision, values are off by half of it

Floats = NDArray[np.float32]
Outputs = Sequence[Any]
"""What one run returned, in the order of the declared outputs: arrays, or lists for sequences."""


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """One output, and the steps that lead from it to z (n, d) float32."""

    index: int
    name: str
    width: int
    normalise: bool

    def read(self, outputs: Outputs, rows: int, backend: Backend) -> Floats:
        """z (rows, d) of one run.

        Raises:
            EngineError: another shape than that of `rows` embeddings.
        """
        array = outputs[self.index]
        if embedding_width(array, rows) != self.width:
            raise wrong_shape(backend, self.name, np.asarray(array), (rows, self.width))
        z: Floats = array.reshape(rows, self.width).astype(np.float32, copy=False)
        return unit(z) if self.normalise else z

    def differences(self, outputs: Outputs, rows: int) -> Iterator[str]:
        """What differs from one output `z` float32 (n, d) of unit norm, one sentence each."""
        array = outputs[self.index]
        if len(outputs) > 1:
            yield f"output `{self.name}` of {len(outputs)}"
        if array.shape != (rows, self.width):
            rest = array.shape[1:] if len(array.shape) > 1 else array.shape
            yield f"output ({text(('n', *rest))}) for ({text(('n', self.width))})"
        if array.dtype != np.float32:
            yield f"{array.dtype} output"
        if self.normalise:
            yield "output not of unit norm, normalised"


def find_output(backend: Backend, outputs: Outputs, rows: int, name: str | None, width: int | None) -> EngineOutput:
    """The output with the embeddings: the one named, or the only one that can hold `rows` of them, `width` wide.

    Raises:
        EngineError: no such output, one that holds no embeddings, or several that could.
    """
    names = [tensor.name for tensor in backend.outputs]
    widths = [embedding_width(array, rows) for array in outputs]
    where, listed = f"{backend.kind} `{backend.path}`", ", ".join(described(names, outputs))
    if name is not None:
        if name not in names:
            raise EngineError(f"{where} has no output `{name}`; it has {listed}", hint="one of these: `--output NAME`")
        found = [names.index(name)]
        if widths[found[0]] is None:
            raise EngineError(
                f"output `{name}` of {where} holds no embeddings (n, d): a batch of {rows} gives {listed}",
                hint="name another output, or export one embedding a sample",
            )
    else:
        found = [k for k, one in enumerate(widths) if one is not None]
        if len(found) > 1 and width is not None:
            found = [k for k in found if widths[k] == width] or found
        if len(found) != 1:
            wanted = f"(n, {'d' if width is None else width})"
            raise EngineError(
                f"{where} has {'no output' if not found else f'{len(found)} outputs'} with embeddings {wanted}:"
                f" a batch of {rows} gives {listed}; expected one",
                hint="name it: `--output NAME`" if found else f"export one embedding a sample; {backend.remake()}",
            )
    (index,) = found
    one = EngineOutput(index, names[index], widths[index] or 0, normalise=False)
    lengths = np.linalg.norm(one.read(outputs, rows, backend).astype(np.float64), axis=1)
    off = bool(np.isfinite(lengths).all() and (np.abs(lengths - 1) > NORM_TOLERANCE).any())
    return EngineOutput(one.index, one.name, one.width, off)


def embedding_width(array: object, rows: int) -> int | None:
    """d of an array that holds one embedding of d numbers for each of `rows`, with axes of size 1 anywhere behind."""
    if not isinstance(array, np.ndarray) or str(array.dtype) not in FLOATS or not array.size:
        return None
    shape = array.shape
    if shape[:1] != (rows,):
        shape = (1, *shape) if rows == 1 else ()
    inner = [size for size in shape[1:] if size > 1]
    return inner[0] if len(inner) == 1 and shape[:1] == (rows,) else None


def described(names: Sequence[str], outputs: Outputs) -> Iterator[str]:
    """Each output with its name, type and shape, for messages."""
    for name, array in zip(names, outputs, strict=True):
        if isinstance(array, np.ndarray):
            yield f"`{name}` {array.dtype} ({', '.join(map(str, array.shape))})"
        else:
            yield f"`{name}`, a {type(array).__name__} and no tensor"


def unit(z: Floats) -> Floats:
    """Rows of length one; a row of zeros stays one, and `unit_norm` finds it."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
        scaled: Floats = (z / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled
