"""Between which numbers the values of a tensor lie: of constants exactly, of others where it is easy to tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.runtime.backends.graph_scan import Tensor
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.operators import AVERAGES, MOVES

Range = tuple[float, float]
"""The smallest and the largest value."""

TYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "u1", 10: "<f2", 11: "<f8", 12: "<u4"}
"""NumPy's names of ONNX's data types."""
BFLOAT16 = 16
INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 9, 12, 13, 21, 22, 25, 26})
"""ONNX's integers, and booleans."""
SMALL_FLOATS = frozenset({17, 18, 19, 20, 23, 24})
"""Floats of 8 bits or fewer, which round as coarsely as integers."""
BOUNDED: Mapping[str, Range] = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Erf", "Sin", "Cos", "Softsign"), (-1.0, 1.0)),
}
PADDED = frozenset({"Pad", "Trilu", "MaxPool", "AveragePool"})
"""Operators that may put zeros among the values."""
JOINS = frozenset({"Concat", "Max", "Min", "Where", "Scatter", "ScatterElements", "ScatterND", *PADDED})
KEEPS = (MOVES | AVERAGES | {"Cast", "QuantizeLinear", "FakeQuantize"}) - JOINS
"""Operators whose outputs lie in the range of their first input."""
CURVES: Mapping[str, Callable[[float], float]] = {
    "Neg": lambda x: -x,
    "Abs": abs,
    "Relu": lambda x: max(x, 0.0),
    "Sqrt": math.sqrt,
    "Exp": math.exp,
    "Log": math.log,
    "Reciprocal": lambda x: 1 / x,
}


def of_constant(tensor: Tensor, file: EngineFile) -> Range | None:
    """The range of a constant of the graph in `file`; None if its bytes cannot be found, or are of a rare type."""
    values = values_of(tensor, file)
    return None if values is None or not values.size else known((float(values.min()), float(values.max())))


def of_channels(weights: Tensor, scales: Tensor, axis: int, file: EngineFile) -> Range | None:
    """The range of integer weights times the scale of their channel along `axis`; None if there is not one for each.

    The largest integer times the largest scale says too much: a channel without any weight may have any scale.
    """
    found, scale = values_of(weights, file), values_of(scales, file)
    if found is None or scale is None or found.size != math.prod(weights.dims) or not -len(weights.dims) <= axis:
        return None
    if axis >= len(weights.dims) or scale.size != weights.dims[axis] or not scale.size:
        return None
    rows = np.moveaxis(np.abs(found.astype(np.float64)).reshape(weights.dims), axis, 0).reshape(len(scale), -1)
    most = float((rows.max(axis=1, initial=0.0) * np.abs(scale.astype(np.float64))).max())
    return known((-most, most))


def values_of(tensor: Tensor, file: EngineFile) -> NDArray[Any] | None:
    """The values of a constant in a row; None if its bytes cannot be found, or are of a rare type."""
    if tensor.values is not None:
        return np.array(tensor.values)
    data = bytes_of(tensor, file)
    if data is None or (tensor.type not in TYPES and tensor.type != BFLOAT16):
        return None
    kind = np.dtype(TYPES.get(tensor.type, "<u2"))
    values: NDArray[Any] = np.frombuffer(data, kind, len(data) // kind.itemsize)
    return (values.astype(np.uint32) << 16).view(np.float32) if tensor.type == BFLOAT16 else values


def bytes_of(tensor: Tensor, file: EngineFile) -> memoryview | None:
    """The bytes of a constant, in the graph or in a file beside it."""
    if tensor.external is not None:
        entries = {"location": "", "offset": "0", "length": "", **dict(tensor.external)}
        there = file.weights.get(entries["location"], b"")
        offset, size = (int(text) if text.isdecimal() else 0 for text in (entries["offset"], entries["length"]))
        return memoryview(there)[offset : offset + (size or len(there))]
    return None if tensor.span is None else memoryview(file.data)[slice(*tensor.span)]


def known(found: Range | None) -> Range | None:
    """The range, unless one of its ends is not a number."""
    return None if found is None or math.isnan(found[0] + found[1]) else found


def of_output(operator: str, given: Sequence[Range | None], *, same: bool = False) -> Range | None:
    """The range of an operator's output from those of its inputs; None if it is not known.

    `same` tells that both inputs are one tensor.
    """
    if operator in BOUNDED:
        return BOUNDED[operator]
    if operator in JOINS:
        return known(of_join(operator, given[1:] if operator == "Where" else given))
    first, second = ((*given, None, None)[place] for place in (0, 1))
    if first is None:
        return None
    if operator in KEEPS:
        return first
    if operator == "Clip":
        low = first[0] if second is None else max(first[0], second[0])
        limit = given[2] if len(given) > 2 else None
        return known((low, max(low, first[1] if limit is None else min(first[1], limit[1]))))
    if operator in CURVES:
        return known(of_curve(operator, first))
    return None if second is None else known(of_pair(operator, first, second, same=same))


def of_join(operator: str, given: Sequence[Range | None]) -> Range | None:
    """The range of values that come from several tensors, or of the larger or smaller of them."""
    ranges = [item for item in given if item is not None]
    if len(ranges) < len(given) or not ranges:
        return None
    if operator in PADDED:
        ranges.append((0.0, 0.0))
    lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
    return (max if operator == "Max" else min)(lows), (min if operator == "Min" else max)(highs)


def of_curve(operator: str, first: Range) -> Range | None:
    """The range of a function of one variable."""
    low, high = first
    try:
        ends = [CURVES[operator](low), CURVES[operator](high)]
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    if operator == "Reciprocal" and low <= 0 <= high:
        return None
    least = 0.0 if operator == "Abs" and low <= 0 <= high else min(ends)
    return least, max(ends)


def of_pair(operator: str, first: Range, second: Range, *, same: bool) -> Range | None:
    """The range of a sum, difference, product, quotient or power."""
    (a, b), (c, d) = first, second
    if operator == "DequantizeLinear":
        most = max(abs(a), abs(b)) * max(abs(c), abs(d))
        return -most, most
    if operator == "Add":
        return a + c, b + d
    if operator == "Sub":
        return a - d, b - c
    if operator == "Mul":
        ends = [x * y for x in first for y in second]
        return (0.0 if same and a <= 0 <= b else min(ends)), max(ends)
    if operator == "Div" and c * d > 0:
        ends = [x / y for x in first for y in second]
        return min(ends), max(ends)
    if operator == "Pow" and c == d:
        try:
            ends = [float(x**c) for x in first]
        except (OverflowError, ZeroDivisionError, TypeError):  # also where a root of a negative number is complex
            return None
        return (0.0 if a < 0 < b and c % 2 == 0 else min(ends)), max(ends)
    return None
