"""A census of an engine: everything in it that decides by the values of its input."""

from __future__ import annotations

from advcal_edge.runtime.backends.graph_scan import Scan
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.weights import IR
from advcal_edge.verify.census.decision import Census, Counts, Decision
from advcal_edge.verify.census.flow import Flow
from advcal_edge.verify.census.ranges import Range

__all__ = ["Census", "Counts", "Decision", "take_census"]


def take_census(file: EngineFile, bounds: Range | None = None) -> Census:
    """The census of an ONNX graph or an OpenVINO IR whose input lies in `bounds`, if that is known.

    Raises:
        EngineError: it cannot be read, or is larger than the limits.
    """
    if file.path.suffix == IR:
        from advcal_edge.verify.census.ir import read_ir

        return Flow(file, bounds).run(read_ir(file))
    return Flow(file, bounds).run(Scan(file.data, file.path).model())
