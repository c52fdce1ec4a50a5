"""All graphs of a bundle: the forward pass in each precision and the gradient, added together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.export.opset import Kind, check_opset
from advcal_edge.export.result import ExportResult
from advcal_edge.precision import DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.registry import unknown

if TYPE_CHECKING:
    from torch import nn

PACKAGES = {"torch": "export", "onnx": "export", "onnxscript": "export", "onnxruntime": "cpu"}
"""Package and the extra that installs it; ONNX Runtime quantises and checks the graphs of torch and onnx."""


def silent(message: str) -> None:
    """Report nothing."""


def export_graphs(
    bundle: Bundle,
    module: nn.Module,
    *,
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    gradient: bool = True,
    opset: int = 20,
    report: Callable[[str], None] = silent,
) -> tuple[Bundle, ExportResult]:
    """Export `module`, x (n, *spec.shape) to unit-norm z (n, d), into `bundle`; other graphs in it are unchanged.

    Reduced precisions are made from the fp32 graph, which enters the bundle only on request. `report` is called with
    each graph's name before it is made.

    Raises:
        ConfigError: an unknown precision, nothing to export, an opset outside 18 to 20, or fp8 in opset 18.
        DependencyError: torch, onnx, onnxscript or onnxruntime is missing.
        ExportError: the module cannot be exported, or a graph does not compute the same as the module.
        BundleError: the probe or the calibration samples are missing, or the bundle cannot be written.
    """
    wanted = choose_graphs(precisions, gradient)
    check_opset(opset, precisions)
    check_dependencies()
    from advcal_edge.export.graph_maker import GraphMaker

    with bundle.staging() as folder:
        maker = GraphMaker(module, bundle, folder, opset)
        made = []
        for kind, precision in wanted:
            report(f"{kind}.{precision}.onnx")
            made.append(maker.make(kind, precision))
        result = ExportResult(opset, tuple(made))
        return add_graphs(bundle, folder, result), result


def add_graphs(bundle: Bundle, folder: Path, result: ExportResult) -> Bundle:
    """Move the graphs of an export from `folder`, on the same disk as the bundle, into the bundle and its manifest.

    Raises:
        BundleError: the bundle cannot be written.
    """
    from advcal_edge.export.graph_file import graph_files

    made = [folder / PurePosixPath(graph.path).name for graph in result.graphs]
    files = {f"onnx/{file.name}": file for path in made for file in graph_files(path)}

    def updated(graphs: Mapping[str, Any] | None) -> dict[str, Any]:
        listed = (graphs or {}).get("files", {})  # another export may have added its own in the meantime
        return {"opset": result.opset, "files": dict(sorted({**listed, **result.to_manifest()}.items()))}

    return bundle.add(files, graphs=updated)


def remove_graph(bundle: Bundle, name: str) -> Bundle:
    """Remove a graph and its weights from the bundle; a missing graph is not an error.

    Raises:
        BundleError: the bundle cannot be written.
    """
    if not bundle.has(name):
        return bundle

    def updated(graphs: Mapping[str, Any] | None) -> dict[str, Any]:
        listed = (graphs or {}).get("files", {})
        return {**(graphs or {}), "files": {path: entry for path, entry in listed.items() if path != name}}

    return bundle.remove((name, f"{name}.data"), graphs=updated)


def choose_graphs(precisions: Sequence[str], gradient: bool) -> list[tuple[Kind, str]]:
    """Kind and precision of the graphs to make, each once.

    Raises:
        ConfigError: an unknown precision, or nothing to make.
    """
    for name in precisions:
        if name not in PRECISIONS:
            raise unknown("precision", name, PRECISIONS)
    chosen: list[tuple[Kind, str]] = [("forward", name) for name in PRECISIONS if name in precisions]
    if gradient:
        chosen.append(("vjp", "fp32"))
    if not chosen:
        raise ConfigError("nothing to export: no precision and no gradient", hint="ask for `--precision fp32`")
    return chosen


def check_dependencies() -> None:
    """Check that everything an export imports is installed, without importing it.

    Raises:
        DependencyError: a package is missing; the hint names its extra.
    """
    for package, extra in PACKAGES.items():
        if find_spec(package) is None:
            raise DependencyError(package, extra=extra, purpose="export")
