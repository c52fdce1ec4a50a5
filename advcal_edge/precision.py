"""The numeric formats an engine can be exported in: one entry per precision, read by runtime, export and verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BACKWARD_GRAPH = "onnx/vjp.fp32.onnx"
"""Where a bundle keeps its backward graph, which serves the engines of every precision."""


@dataclass(frozen=True, slots=True)
class Precision:
    """One format of the matrix products; `speed` orders precisions by convention, larger is faster."""

    name: str
    speed: int
    family: str = ""
    """How it is reduced, which decides what stays fp32: `cast` or `quantised`; fp32 is not."""
    conversion: str = ""
    """Place of its `Conversion`, imported when such a graph is exported."""
    tensorrt: str = ""
    """Name of its type in TensorRT's API."""
    kernels: str = ""
    """Pattern of its type in the names that TensorRT gives to layers and formats."""
    default: bool = True
    """Whether it is exported unless others are asked for, and among the graphs that `auto` chooses from."""
    on_cpu: bool = True
    """Whether ONNX Runtime runs it on a CPU; fp8 is simulated there, and slower than fp32."""
    opset: int = 18
    """The first version of ONNX's operators that has its types."""

    @property
    def graph(self) -> str:
        """Where a bundle keeps its forward graph of this precision."""
        return f"onnx/forward.{self.name}.onnx"


PRECISIONS: Mapping[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision("fp32", speed=0, tensorrt="FLOAT", kernels=r"fp32|\bfloat\b|float32"),
        Precision(
            "fp16",
            speed=1,
            family="cast",
            conversion="advcal_edge.export.fp16:FP16",
            tensorrt="HALF",
            kernels=r"(?<!b)fp16|\bhalf\b",
        ),
        Precision(
            "bf16",
            speed=2,
            family="cast",
            conversion="advcal_edge.export.fp16:BF16",
            tensorrt="BF16",
            kernels=r"bf16|bfloat",
            default=False,
            on_cpu=False,
        ),
        Precision(
            "int8",
            speed=2,
            family="quantised",
            conversion="advcal_edge.export.int8:INT8",
            tensorrt="INT8",
            kernels=r"\bint8\b",
        ),
        Precision(
            "fp8",
            speed=2,
            family="quantised",
            conversion="advcal_edge.export.fp8:FP8",
            tensorrt="FP8",
            kernels=r"fp8|float8|e4m3",
            default=False,
            opset=19,
        ),
    )
}
"""By name, in the order in which they are exported and listed."""

DEFAULT_PRECISIONS = tuple(name for name, precision in PRECISIONS.items() if precision.default)
FASTEST_FIRST = tuple(sorted(DEFAULT_PRECISIONS, key=lambda name: -PRECISIONS[name].speed))
"""The default precisions by speed."""


def speed_of(name: str) -> int:
    """How fast a precision is by convention; one that no export writes counts as the fastest."""
    return PRECISIONS[name].speed if name in PRECISIONS else max(p.speed for p in PRECISIONS.values())
