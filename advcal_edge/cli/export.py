"""`advcal-edge export`: the calibrated encoder as ONNX graphs, forward in each precision and backward."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json, Weights, terms
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.report.table import table

if TYPE_CHECKING:
    from advcal_edge.export.result import ExportedGraph, ExportResult

PRECISIONS = "fp32,fp16,int8"


def export(
    bundle: BundlePath,
    precision: Annotated[
        str, typer.Option("--precision", help="Forward graphs to write: some of fp32, fp16, int8, joined by commas.")
    ] = PRECISIONS,
    no_gradient: Annotated[
        bool, typer.Option("--no-gradient", help="Leave out the backward graph; `verify` is then inconclusive.")
    ] = False,
    opset: Annotated[int, typer.Option("--opset", help="ONNX opset, 18 to 20.")] = 20,
    trt: Annotated[bool, typer.Option("--trt", help="Build TensorRT engines; not in this version.")] = False,
    weights: Weights = None,
    json_output: Json = False,
) -> None:
    """Write the encoder with its adapter merged as ONNX graphs, each checked against torch before it is kept."""
    if trt:
        raise ConfigError(
            "`--trt`: this version writes ONNX graphs and builds no TensorRT engines",
            hint=f"`advcal-edge export {bundle}`, then on the device: `trtexec --onnx=... --stronglyTyped`",
        )
    console = Console(json_output=json_output)
    names = tuple(name.strip() for name in precision.split(",") if name.strip())
    if not names:
        raise ConfigError(
            "`--precision` is empty; expected some of `fp32`, `fp16`, `int8`", hint="leave it out for all three"
        )
    _, result = run(Bundle.open(bundle), console, names, gradient=not no_gradient, opset=opset, weights=weights)
    console.document(result.to_json())
    console.next(f"advcal-edge verify {bundle}")


def run(
    bundle: Bundle,
    console: Console,
    precisions: tuple[str, ...],
    *,
    gradient: bool = True,
    opset: int = 20,
    weights: Path | None = None,
) -> tuple[Bundle, ExportResult]:
    """Export, show what was written, and return it; `demo` runs this too."""
    try:
        from advcal_edge.calibrate.deploy import module_from_bundle
        from advcal_edge.export.graphs import export_graphs
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "onnxscript"):
            raise
        raise DependencyError(error.name, extra="export", purpose="`export`") from error
    console.say(f"export  {bundle.path}  {', '.join(precisions)}{' and gradient' if gradient else ''}  opset {opset}")
    console.say(terms(str(bundle.section("encoder").get("license"))))
    bundle, result = export_graphs(
        bundle,
        module_from_bundle(bundle, weights),
        precisions=precisions,
        gradient=gradient,
        opset=opset,
        report=lambda name: console.say(f"writing {name}"),
    )
    console.result(table(["graph", "MB", "s", "against torch"], [row(graph) for graph in result.graphs]))
    console.say(f"wrote {len(result.graphs)} graphs to `{bundle.path / 'onnx'}`")
    return bundle, result


def row(graph: ExportedGraph) -> list[str]:
    """One graph: size, time, and how far it is from the module it was made of."""
    return [graph.path, f"{graph.bytes / 1e6:.2f}", f"{graph.seconds:.1f}", closeness(graph.fidelity)]


def closeness(fidelity: Any) -> str:
    """The numbers of a fidelity section that people compare."""
    if "cosine_min" in fidelity:
        return f"cosine >= {fidelity['cosine_min']:.6f}, relative L2 {fidelity['relative_l2']:.1e}"
    return f"relative L2 {fidelity['relative_l2']:.1e}, signs agree {100 * fidelity['sign_agreement']:.2f} %"
