"""The input of an engine made by others: how a batch x becomes what the engine takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend
from advcal_edge.runtime.backends.tensor_io import FLOAT, describe_batch
from advcal_edge.runtime.interface import LAYOUTS, Interface
from advcal_edge.runtime.misfit import misfit
from advcal_edge.spec import TensorSpec

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("uint8", "int8", "uint16", "int16", "int32")
LEVELS = 16  # an integer input that takes fewer different values needs a scale: 4 bits are the least of any sensor

Shape = tuple[int, ...]
Axes = tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class EngineInput:
    """One input, and the steps that lead to it from x (n, *shape) float32."""

    name: str
    type: str
    shape: Shape
    """Of one sample, as the engine takes it."""
    batch: int | None
    """The only batch size that the engine takes; None if it takes any."""
    has_batch: bool
    """Has the input a batch axis? If not, the engine takes one sample at a time."""
    channels_last: bool
    scale: float

    def convert(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """x (n, ...) as the engine takes it; a smaller batch than the fixed one is filled up with its last sample."""
        if self.channels_last:
            x = np.moveaxis(x, 1, -1)
        if self.scale != 1:
            x = x * np.float32(self.scale)
        given: NDArray[Any] = rounded(x, self.type) if self.type in INTEGERS else x.astype(self.type, copy=False)
        given = given.reshape(len(x), *self.shape)
        missing = 0 if self.batch is None else self.batch - len(given)
        if missing:
            given = np.concatenate([given, np.repeat(given[-1:], missing, axis=0)])
        return np.ascontiguousarray(given if self.has_batch else given[0])

    def differences(self, declared: Axes, spec: TensorSpec) -> Iterator[str]:
        """What differs from a batch `x` float32 (n, *shape), one sentence each."""
        if self.name != "x":
            yield f"input `{self.name}` for `x`"
        if not self.has_batch:
            yield "input without a batch axis: one sample at a time"
        elif self.batch is not None:
            yield f"fixed batch {self.batch}, smaller ones padded" if self.batch > 1 else "fixed batch 1"
        if self.channels_last:
            yield f"nhwc input ({text(('n', *self.shape))}) for ({text(('n', *spec.shape))})"
        elif self.shape != spec.shape:
            yield f"input ({text(('n', *self.shape))}) for ({text(('n', *spec.shape))})"
        if any(not is_fixed(axis) for axis in declared[self.has_batch :]):
            yield f"input of free size ({text(declared)}), always filled with ({text(('n', *self.shape))})"
        product = "x" if self.scale == 1 else f"x * {self.scale:g}"
        if self.type in INTEGERS:
            yield f"{self.type} input, {product} rounded"
        elif self.type != FLOAT or self.scale != 1:
            yield f"{self.type} input" + ("" if self.scale == 1 else f", {product}")


def rounded(x: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """x to the nearest integers that a type holds."""
    limits = np.iinfo(kind)
    exact = x if limits.bits < 24 else x.astype(np.float64)  # in float32 the largest int32 is one too many
    return np.clip(np.rint(exact), limits.min, limits.max).astype(kind)


def find_input(backend: Backend, spec: TensorSpec, interface: Interface) -> EngineInput:
    """The one input of an engine, and how x becomes it.

    Raises:
        EngineError: several inputs, a type that x cannot become, a shape that fits in no layout or not in the one
            stated, or an integer input without a scale.
    """
    expected = f"`x` {describe_batch(spec.shape)} -> `z` float32 (n, d)"
    if len(backend.inputs) != 1:
        raise misfit(backend, expected, f"fix the other inputs of the {backend.kind} as constants and export again")
    (tensor,) = backend.inputs
    if tensor.type not in (*FLOATS, *INTEGERS):
        raise misfit(backend, f"{expected}, or another type of {', '.join((*FLOATS, *INTEGERS))}")
    found = next(fits(tensor.shape, spec, interface.layout), None)
    if found is None:
        other = interface.layout is not None and any(fits(tensor.shape, spec, None))
        raise misfit(
            backend,
            expected + ("" if interface.layout is None else f", its input in layout {interface.layout}"),
            f"leave out `--layout {interface.layout}`" if other else None,
        )
    shape, has_batch, channels_last = found
    if tensor.type in INTEGERS and interface.scale * spec.width < LEVELS - 1:
        raise EngineError(
            f"{backend.kind} `{backend.path}` takes {tensor}; x from {spec.bounds[0]:g} to {spec.bounds[1]:g} times"
            f" {interface.scale:g} would be rounded to fewer than {LEVELS} values",
            hint="state the factor: `--scale 255`",
        )
    first = tensor.shape[0] if has_batch else 1
    batch = first if isinstance(first, int) and is_fixed(first) else None
    return EngineInput(tensor.name, tensor.type, shape, batch, has_batch, channels_last, interface.scale)


def fits(declared: Axes, spec: TensorSpec, layout: str | None) -> Iterator[tuple[Shape, bool, bool]]:
    """Every way to fit a sample into declared axes, the nearest first: shape, with a batch axis?, channels last?"""
    shapes = [
        (spec.shape[1:] + spec.shape[:1] if last else spec.shape, last)
        for name, last in LAYOUTS.items()
        if layout in (None, name)
    ]
    one = declared[1:]
    yield from ((shape, True, last) for shape, last in shapes if declared and takes(one, shape))
    yield from ((near, True, last) for shape, last in shapes if declared for near in other_ranks(one, shape))
    if all(map(is_fixed, declared)):
        yield from ((shape, False, last) for shape, last in shapes if takes(declared, shape))


def other_ranks(declared: Axes, shape: Shape) -> Iterator[Shape]:
    """The shape without one of its axes of size 1, or with one more, where that is what the axes declare."""
    less = [shape[:k] + shape[k + 1 :] for k, size in enumerate(shape) if size == 1 and len(shape) > 1]
    more = [(*shape[:k], 1, *shape[k:]) for k, axis in enumerate(declared) if axis == 1 and k <= len(shape)]
    return (near for near in (*less, *more) if takes(declared, near))


def takes(declared: Axes, shape: Shape) -> bool:
    """Can declared axes, free or fixed, have these sizes?"""
    return len(declared) == len(shape) and all(
        not is_fixed(axis) or axis == size for axis, size in zip(declared, shape, strict=True)
    )


def is_fixed(axis: int | str | None) -> bool:
    """Has an axis one size? Runtimes state free ones as a name, None or a negative number."""
    return isinstance(axis, int) and axis > 0


def text(axes: Axes) -> str:
    """Axes as in messages."""
    return ", ".join(str(axis) if isinstance(axis, str) or is_fixed(axis) else "?" for axis in axes)
