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
        Precision("fp32", speed=0),
        Precision("fp16", speed=1),
        Precision("bf16", speed=2, default=False, on_cpu=False),
        Precision("int8", speed=2),
        Precision("fp8", speed=2, default=False, opset=19),
    )
}
"""By name, in the order in which they are exported and listed."""

DEFAULT_PRECISIONS = tuple(name for name, precision in PRECISIONS.items() if precision.default)
FASTEST_FIRST = tuple(sorted(DEFAULT_PRECISIONS, key=lambda name: -PRECISIONS[name].speed))
"""The default precisions by speed."""


def speed_of(name: str) -> int:
    """How fast a precision is by convention; one that no export writes counts as the fastest."""
    return PRECISIONS[name].speed if name in PRECISIONS else max(p.speed for p in PRECISIONS.values())
