"""Between which numbers the values of a tensor lie: of constants exactly, of others where it is easy to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
BOUNDED: dict[str, Range] = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Erf", "Sin", "Cos", "Softsign"), (-1.0, 1.0)),
}


def of_constant(tensor: Tensor, file: EngineFile) -> Range | None:
    """The range of a constant of the graph in `file`; None if its bytes cannot be found, or are of a rare type."""
    if tensor.values is not None:
        found = [value for value in tensor.values if not math.isnan(value)]
        return (min(found), max(found)) if found else None
    data = bytes_of(tensor, file)
    if data is None or (tensor.type not in TYPES and tensor.type != BFLOAT16):
        return None
    kind = np.dtype(TYPES.get(tensor.type, "<u2"))
    values: NDArray[np.generic] = np.frombuffer(data, kind, len(data) // kind.itemsize)
    if tensor.type == BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    if not values.size or np.isnan(low := float(values.min())):
        return None
    return low, float(values.max())


def bytes_of(tensor: Tensor, file: EngineFile) -> memoryview | None:
    """The bytes of a constant, in the graph or in a file beside it."""
    if tensor.external is not None:
        entries = dict(tensor.external)
        there, offset = file.weights.get(entries.get("location", ""), b""), int(entries.get("offset", "0") or 0)
        size = int(entries.get("length", "0") or 0) or len(there) - offset
        return memoryview(there)[offset : offset + size]
    if tensor.raw is None or tensor.at is None:
        return None
    return memoryview(file.data)[tensor.at : tensor.at + tensor.raw]


def of_output(operator: str, given: Sequence[Range | None], same: bool) -> Range | None:
    """The range of an operator's output from those of its inputs; None if it is not known.

    `same` tells that both inputs are one tensor.
    """
    if operator in BOUNDED:
        return BOUNDED[operator]
    if operator in ("Concat", "Max", "Min", "Where", "Sum"):
        given = given[1:] if operator == "Where" else given
        known = [item for item in given if item is not None]
        if len(known) < len(given) or not known or operator == "Sum":
            return None
        join = {"Max": (max, max), "Min": (min, min)}.get(operator, (min, max))
        return join[0](low for low, _ in known), join[1](high for _, high in known)
    first = given[0] if given else None
    if first is None:
        return None
    if operator in MOVES | AVERAGES or operator in ("Cast", "QuantizeLinear", "FakeQuantize"):
        padded = operator in ("Pad", "Trilu", "MaxPool", "AveragePool")
        return (min(first[0], 0.0), max(first[1], 0.0)) if padded else first
    low, high = first
    if operator == "Neg":
        return -high, -low
    if operator == "Relu":
        return max(low, 0.0), max(high, 0.0)
    if operator == "Abs":
        return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
    if operator in ("Sqrt", "Exp", "Log", "Reciprocal"):
        return of_monotone(operator, first)
    if operator == "Clip":
        low = low if len(given) < 2 or given[1] is None else max(low, given[1][0])
        high = high if len(given) < 3 or given[2] is None else min(high, given[2][1])
        return (low, max(low, high))
    second = given[1] if len(given) > 1 else None
    return None if second is None else of_pair(operator, first, second, same)


def of_monotone(operator: str, first: Range) -> Range | None:
    """The range of a function that rises or falls everywhere."""
    low, high = first
    try:
        ends = {
            "Sqrt": lambda: (math.sqrt(low), math.sqrt(high)),
            "Exp": lambda: (math.exp(low), math.exp(high)),
            "Log": lambda: (math.log(low), math.log(high)),
            "Reciprocal": lambda: (1 / high, 1 / low) if low * high > 0 else (math.nan, math.nan),
        }[operator]()
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
    return None if math.isnan(ends[0]) else ends


def of_pair(operator: str, first: Range, second: Range, same: bool) -> Range | None:
    """The range of a sum, difference, product, quotient or power."""
    (a, b), (c, d) = first, second
    if operator == "DequantizeLinear":
        most = max(map(abs, (a, b)), default=0.0) * max(abs(c), abs(d))
        return -most, most
    if operator == "Add":
        return a + c, b + d
    if operator == "Sub":
        return a - d, b - c
    if operator == "Mul":
        ends = [x * y for x in first for y in second]
        return (0.0 if same else min(ends)), max(ends)
    if operator == "Div" and c * d > 0:
        ends = [x / y for x in first for y in second]
        return min(ends), max(ends)
    if operator == "Pow" and c == d:
        try:
            ends = [float(x**c) for x in first]
        except (OverflowError, ZeroDivisionError, TypeError, ValueError):
            return None
        return (0.0 if a < 0 < b else min(ends)), max(ends)
    return None
