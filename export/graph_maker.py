"""One graph at a time: made in a folder, measured against the module, refused if it is broken."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from advcal_edge.bundle import Bundle
from advcal_edge.export.dialect import Kind, Precision
from advcal_edge.export.fidelity import (
    FORWARD_LIMITS,
    VJP_LIMITS,
    ForwardFidelity,
    VjpFidelity,
    check_fidelity,
    measure_forward,
    measure_vjp,
)
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp16 import convert_fp16
from advcal_edge.export.graph_file import graph_files
from advcal_edge.export.int8 import convert_int8
from advcal_edge.export.result import ExportedGraph
from advcal_edge.export.vjp import export_vjp

FIDELITY_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class GraphMaker:
    """Makes the graphs of `module` for `bundle` in `folder`; adding them to the bundle is up to the caller."""

    module: nn.Module
    bundle: Bundle
    folder: Path
    opset: int

    def make(self, kind: Kind, precision: Precision) -> ExportedGraph:
        """Write and measure one graph.

        Raises:
            ExportError: it cannot be made, or it does not compute what the module computes.
            BundleError: the probe or the calibration samples cannot be read.
        """
        path = self.path(kind, precision)
        start = time.perf_counter()
        self.write(path, kind, precision)
        seconds = time.perf_counter() - start
        fidelity = self.measure(path, kind, precision)
        return ExportedGraph(
            path=f"onnx/{path.name}",
            precision=precision,
            kind=kind,
            bytes=sum(file.stat().st_size for file in graph_files(path)),
            seconds=round(seconds, 2),
            fidelity=fidelity.to_json(),
        )

    def write(self, path: Path, kind: Kind, precision: Precision) -> None:
        """Write one graph; fp16 and int8 are made from the fp32 graph, which is made first where it is missing."""
        spec = self.bundle.modality.input
        reference = self.path("forward", "fp32")
        if kind == "vjp":
            export_vjp(self.module, spec, self.bundle.centers().dim, path, self.opset)
            return
        if not reference.is_file():
            export_forward(self.module, spec, reference, self.opset)
        if precision == "fp16":
            convert_fp16(reference, path)
        elif precision == "int8":
            convert_int8(reference, path, self.bundle.calibration().x)

    def measure(self, path: Path, kind: Kind, precision: Precision) -> ForwardFidelity | VjpFidelity:
        """Measure one graph on the first samples of the probe, and hold it to its limits."""
        x = self.bundle.probe().head(FIDELITY_SAMPLES).x
        if kind == "vjp":
            backward = measure_vjp(path, self.module, x, self.bundle.modality.input.width)
            check_fidelity(path.name, backward, VJP_LIMITS)
            return backward
        forward = measure_forward(path, self.module, x, reference=precision == "fp32")
        check_fidelity(path.name, forward, FORWARD_LIMITS[precision])
        return forward

    def path(self, kind: Kind, precision: Precision) -> Path:
        """Where a graph is written."""
        return self.folder / f"{kind}.{precision}.onnx"
