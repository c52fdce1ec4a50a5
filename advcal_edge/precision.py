"""Numeric formats of engines: one entry per precision, read by runtime, export and verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BACKWARD_GRAPH = "onnx/vjp.fp32.onnx"
"""Path of the backward graph in a bundle; it serves the engines of every precision."""


@dataclass(frozen=True, slots=True)
class Precision:
    """One format of the matrix products; `speed` orders precisions by convention, larger is faster."""

    name: str
    speed: int
    family: str = ""
    """How it is converted, which decides what stays fp32: `cast` or `quantised`; fp32 is not converted."""
    conversion: str = ""
    """Path of its `Conversion`, imported when such a graph is exported."""
    tensorrt: str = ""
    """Name of its type in the TensorRT API."""
    kernels: str = ""
    """Pattern of its type in TensorRT's names of layers and formats."""
    default: bool = True
    """Exported by default, and among the graphs that `auto` chooses from."""
    on_cpu: bool = True
    """Does ONNX Runtime run it on a CPU? fp8 is simulated there, and slower than fp32."""
    opset: int = 18
    """The first ONNX opset that has its types."""

    @property
    def graph(self) -> str:
        """Path of its forward graph in a bundle."""
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
"""By name, in the order of export and listing."""

DEFAULT_PRECISIONS = tuple(name for name, precision in PRECISIONS.items() if precision.default)
FASTEST_FIRST = tuple(sorted(DEFAULT_PRECISIONS, key=lambda name: -PRECISIONS[name].speed))
"""The default precisions by speed."""


def speed_of(name: str) -> int:
    """Speed of a precision by convention; a precision that no export writes counts as the fastest."""
    return PRECISIONS[name].speed if name in PRECISIONS else max(p.speed for p in PRECISIONS.values())
