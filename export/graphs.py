"""All graphs of a bundle, the gradient and the forward pass in each precision; what is finished is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError, ExportError
from advcal_edge.export.opset import Kind, check_opset
from advcal_edge.export.result import ExportedGraph, ExportResult, Missing
from advcal_edge.manifest import LONGEST_TEXT
from advcal_edge.precision import DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.registry import unknown
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.explanation import write_record

if TYPE_CHECKING:
    from torch import nn

    from advcal_edge.export.graph_maker import GraphMaker

PACKAGES = {"torch": "export", "onnx": "export", "onnxscript": "export", "onnxruntime": "cpu"}
"""Package and the extra that installs it; ONNX Runtime quantises and checks the graphs of torch and onnx."""


def unseen(missing: Missing) -> None:
    """Report nothing that is missing."""


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
    lost: Callable[[Missing], None] = unseen,
) -> tuple[Bundle, ExportResult]:
    """Export `module`, x (n, *spec.shape) to unit-norm z (n, d), into `bundle`; other graphs in it are unchanged.

    Reduced precisions are made from the fp32 graph, which enters the bundle only on request. `report` is called with
    each graph's name before it is made. The gradient, which is the likeliest to fail, comes first. A graph that cannot
    be made, or that does not compute the same as the module, is missing from the result, `lost` is called if others
    were requested, and those are made all the same. Whatever ends the export, what was finished is in the bundle.

    Raises:
        ConfigError: an unknown precision, nothing to export, an opset outside 18 to 20, or fp8 in opset 18.
        DependencyError: torch, onnx, onnxscript or onnxruntime is missing.
        BundleError: the probe or the calibration samples are missing, or the bundle cannot be written.
    """
    wanted = choose_graphs(precisions, gradient)
    check_opset(opset, precisions)
    check_dependencies()
    from advcal_edge.export.graph_maker import GraphMaker

    made: list[ExportedGraph] = []
    missing: list[Missing] = []
    with bundle.staging() as folder:
        try:
            for one in make_graphs(GraphMaker(module, bundle, folder, opset), wanted, report):
                if isinstance(one, ExportedGraph):
                    made.append(one)
                    continue
                missing.append(one)
                if len(wanted) > 1:
                    lost(one)
        finally:
            result = ExportResult(opset, tuple(made), missing=tuple(missing))
            if made:
                bundle = add_graphs(bundle, folder, result)
    return bundle, result


def make_graphs(
    maker: GraphMaker, wanted: Sequence[tuple[Kind, str]], report: Callable[[str], None]
) -> Iterator[ExportedGraph | Missing]:
    """Make one graph after the other; if the fp32 forward graph is broken, no other precision is made from it."""
    broken: ExportError | None = None
    for kind, precision in wanted:
        name = f"{kind}.{precision}.onnx"
        try:
            if kind == "forward" and broken is not None:
                raise ExportError(f"`{name}` is made from the fp32 graph: {broken.message}", hint=broken.hint)
            report(name)
            yield maker.make(kind, precision)
        except ExportError as error:
            yield Missing(f"onnx/{name}", kind, error)
            if kind == "forward" and broken is None and (precision == "fp32" or not maker.has_reference):
                broken = error


def add_graphs(bundle: Bundle, folder: Path, result: ExportResult) -> Bundle:
    """Move the graphs of an export from `folder`, on the same disk as the bundle, into the bundle and its manifest.

    The manifest also gets the census of the fp32 graph in `folder`, which was just made of the torch module: it
    explains the decisions by value of every engine.

    Raises:
        BundleError: the bundle cannot be written.
    """
    from advcal_edge.export.graph_file import graph_files

    made = [folder / PurePosixPath(graph.path).name for graph in result.graphs]
    source = folder / PurePosixPath(PRECISIONS["fp32"].graph).name
    counted = write_record(EngineFile.of(source), bundle.modality.input.bounds) if source.is_file() else None
    files = {f"onnx/{file.name}": file for path in made for file in graph_files(path)}

    def updated(graphs: Mapping[str, Any] | None) -> dict[str, Any]:
        listed = (graphs or {}).get("files", {})  # another export may have added its own in the meantime
        files = dict(sorted({**listed, **result.to_manifest()}.items()))
        failed = {item.name: item.reason[:LONGEST_TEXT] for item in result.missing}
        missing = {n: why for n, why in {**(graphs or {}).get("missing", {}), **failed}.items() if n not in files}
        census = counted or (graphs or {}).get("census")  # from the same torch module, if an earlier export made it
        further = {name: part for name, part in (("missing", missing), ("census", census)) if part}
        return {"opset": result.opset, "files": files, **further}

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
    """Kind and precision of the graphs to make, each once, the gradient first.

    Raises:
        ConfigError: an unknown precision, or nothing to make.
    """
    for name in precisions:
        if name not in PRECISIONS:
            raise unknown("precision", name, PRECISIONS)
    chosen: list[tuple[Kind, str]] = [("vjp", "fp32")] if gradient else []
    chosen += [("forward", name) for name in PRECISIONS if name in precisions]
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
