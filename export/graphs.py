"""All graphs of a bundle: the forward pass in each precision and the gradient, added together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError
from advcal_edge.export.dependencies import check_dependencies
from advcal_edge.export.dialect import PRECISIONS, Kind, Precision, check_opset
from advcal_edge.export.result import ExportResult
from advcal_edge.registry import unknown

if TYPE_CHECKING:
    from torch import nn


def silent(message: str) -> None:
    """Tell nobody."""


def export_graphs(
    bundle: Bundle,
    module: nn.Module,
    *,
    precisions: Sequence[str] = PRECISIONS,
    gradient: bool = True,
    opset: int = 20,
    report: Callable[[str], None] = silent,
) -> tuple[Bundle, ExportResult]:
    """Export `module`, x (n, *spec.shape) to unit-norm z (n, d), into `bundle`; graphs not asked for stay as they are.

    The fp16 and int8 graphs are made from the fp32 graph, which enters the bundle only if it is asked for. `report` is
    told each graph's name before it is made.

    Raises:
        ConfigError: an unknown precision, nothing to export, or an opset outside 18 to 20.
        DependencyError: torch, onnx, onnxscript or onnxruntime is missing.
        ExportError: the module cannot be exported, or a graph does not compute what the module computes.
        BundleError: the probe or the calibration samples are missing, or the bundle cannot be written.
    """
    wanted = choose_graphs(precisions, gradient)
    check_opset(opset)
    check_dependencies()
    from advcal_edge.export.graph_file import graph_files
    from advcal_edge.export.graph_maker import GraphMaker

    with bundle.staging() as folder:
        maker = GraphMaker(module, bundle, folder, opset)
        made = []
        for kind, precision in wanted:
            report(f"{kind}.{precision}.onnx")
            made.append(maker.make(kind, precision))
        result = ExportResult(opset, tuple(made))
        files = {f"onnx/{file.name}": file for graph in wanted for file in graph_files(maker.path(*graph))}
        listed = bundle.manifest.get("graphs", {}).get("files", {})
        section = {"opset": opset, "files": dict(sorted({**listed, **result.to_manifest()}.items()))}
        return bundle.add(files, graphs=section), result


def choose_graphs(precisions: Sequence[str], gradient: bool) -> list[tuple[Kind, Precision]]:
    """Kind and precision of the graphs to make, each once.

    Raises:
        ConfigError: an unknown precision, or nothing to make.
    """
    for name in precisions:
        if name not in PRECISIONS:
            raise unknown("precision", name, PRECISIONS)
    chosen: list[tuple[Kind, Precision]] = [("forward", name) for name in PRECISIONS if name in precisions]
    if gradient:
        chosen.append(("vjp", "fp32"))
    if not chosen:
        raise ConfigError("nothing to export: no precision and no gradient", hint="ask for `--precision fp32`")
    return chosen
