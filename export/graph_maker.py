"""Make one graph at a time in a folder, measure it against the module, and refuse it if it is broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from advcal_edge.bundle import Bundle
from advcal_edge.export.conversion import find_conversion
from advcal_edge.export.fallback import Step
from advcal_edge.export.fidelity import (
    FP32_LIMITS,
    VJP_LIMITS,
    ForwardFidelity,
    VjpFidelity,
    check_fidelity,
    measure_forward,
    measure_vjp,
)
from advcal_edge.export.forward import export_forward
from advcal_edge.export.graph_file import graph_files, label_step
from advcal_edge.export.graph_regions import products
from advcal_edge.export.opset import Kind
from advcal_edge.export.precision import kept_nodes
from advcal_edge.export.result import ExportedGraph
from advcal_edge.export.scatter import scatter_nodes
from advcal_edge.export.vjp import export_vjp
from advcal_edge.precision import PRECISIONS

FIDELITY_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class GraphMaker:
    """Makes the graphs of `module` for `bundle` in `folder`; the caller adds them to the bundle."""

    module: nn.Module
    bundle: Bundle
    folder: Path
    opset: int

    def make(self, kind: Kind, precision: str, step: Step | None = None) -> ExportedGraph:
        """Write and measure one graph, optionally at a `step` of the precision fallback.

        Raises:
            FidelityError: it does not compute the same as the module.
            ExportError: it cannot be made.
            BundleError: the probe or the calibration samples cannot be read.
        """
        path = self.path(kind, precision)
        start = time.perf_counter()
        self.write(path, kind, precision, step)
        seconds = time.perf_counter() - start
        fidelity = self.measure(path, kind, precision)
        return ExportedGraph(
            path=f"onnx/{path.name}",
            precision=precision,
            kind=kind,
            bytes=sum(file.stat().st_size for file in graph_files(path)),
            seconds=round(seconds, 2),
            fidelity=fidelity.to_json(),
            step=None if step is None else step.name,
            kept=() if step is None else step.nodes,
            scatters=scatter_nodes(path) if kind == "vjp" else (),
        )

    def write(self, path: Path, kind: Kind, precision: str, step: Step | None = None) -> None:
        """Write one graph; reduced precisions are made from the fp32 graph, which is made first if missing."""
        if kind == "vjp":
            spec, dim = self.bundle.modality.input, self.bundle.centers().dim
            export_vjp(self.module, spec, dim, path, self.opset)
            return
        reference = self.reference()
        further, name = ((), None) if step is None else (step.kept, step.name)
        if precision != "fp32":
            convert = find_conversion(precision).convert
            convert(reference, path, lambda: self.bundle.calibration().x, further, name)
        elif name is not None:
            label_step(path, name)

    def reference(self) -> Path:
        """Path of the fp32 forward graph, which is made if missing."""
        path = self.path("forward", "fp32")
        if not path.is_file():
            export_forward(self.module, self.bundle.modality.input, path, self.opset)
        return path

    @property
    def has_reference(self) -> bool:
        """Has the fp32 forward graph been written?"""
        return self.path("forward", "fp32").is_file()

    def reduced(self, precision: str, step: Step) -> frozenset[str]:
        """Names of the matrix products in reduced precision at a step; equal names mean equal graphs."""
        graph = onnx.load(str(self.reference()), load_external_data=False).graph
        return products(graph) - kept_nodes(graph, precision, step.kept)

    def measure(self, path: Path, kind: Kind, precision: str) -> ForwardFidelity | VjpFidelity:
        """Measure one graph on the first samples of the probe, and check its limits.

        bf16 and fp16 graphs are measured by their emulation: a CPU cannot run the first, and hides overflow in the
        second, which must still run there.
        """
        x = self.bundle.probe(FIDELITY_SAMPLES).x
        if kind == "vjp":
            backward = measure_vjp(path, self.module, x, self.bundle.modality.input.width)
            check_fidelity(path.name, backward, VJP_LIMITS)
            return backward
        if precision == "fp32":
            forward = measure_forward(path, self.module, x, reference=True)
            check_fidelity(path.name, forward, FP32_LIMITS)
            return forward
        conversion = find_conversion(precision)
        if PRECISIONS[precision].on_cpu:
            forward = measure_forward(path, self.module, x, reference=False)
            check_fidelity(path.name, forward, conversion.limits)
        if conversion.emulate is not None:
            forward = self.measure_emulated(path, conversion.emulate, x)
            check_fidelity(path.name, forward, conversion.limits)
        return forward

    def measure_emulated(
        self, path: Path, emulate: Callable[[Path, Path], None], x: NDArray[np.float32]
    ) -> ForwardFidelity:
        """Measure the emulation of a graph."""
        with TemporaryDirectory(dir=self.folder, prefix=".emulation.") as folder:
            emulation = Path(folder) / path.name
            emulate(path, emulation)
            return replace(measure_forward(emulation, self.module, x, reference=True), emulated=True)

    def path(self, kind: Kind, precision: str) -> Path:
        """Path at which a graph is written."""
        return self.folder / f"{kind}.{precision}.onnx"
