"""`advcal-edge export`: the calibrated encoder as ONNX graphs, forward in each precision and backward, and as plans."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, EncoderCode, Json, Seed, Weights, terms
from advcal_edge.commands import command
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.precision import BACKWARD_GRAPH, DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.report.table import table
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    from advcal_edge.export.result import ExportedGraph, ExportResult

DEFAULT = ",".join(DEFAULT_PRECISIONS)


def export(
    bundle: BundlePath,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help=f"Forward graphs: some of {', '.join(PRECISIONS)}; default {DEFAULT}."),
    ] = None,
    no_gradient: Annotated[
        bool, typer.Option("--no-gradient", help="Leave out the backward graph; `verify` is then inconclusive.")
    ] = False,
    opset: Annotated[int, typer.Option("--opset", help="ONNX opset, 18 to 20.")] = 20,
    trt: Annotated[
        bool,
        typer.Option("--trt", help="Build TensorRT plans from the graphs; those that are missing are written first."),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Build for `jetson-orin`, `jetson-thor`, `server` or `rtx` (TensorRT-RTX), or as a TOML file says.",
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", help="Samples a plan takes: `min,opt,max`; default 1,8,32.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", help="MiB that the builder may use; 1024 on boards with 8 GB.")
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Build from kept timings alone and fail where one is missing; RTX: build twice, compare.",
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="The plan also runs on newer TensorRT. Slower, and it carries code that its loader executes.",
        ),
    ] = False,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware",
            help="`same-capability` or `ampere+`: the plan also runs on such GPUs. Slower; not on a Jetson.",
        ),
    ] = None,
    until_parity: Annotated[
        bool, typer.Option("--until-parity", help="Verify each graph, and keep more of it in fp32 until it passes.")
    ] = False,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Of `--until-parity`, as for `verify`.")] = 500,
    attacks: Annotated[str, typer.Option("--attacks", help="Of `--until-parity`, as for `verify`.")] = "quick",
    margin: Annotated[float, typer.Option("--margin", help="Of `--until-parity`, as for `verify`.")] = MARGIN,
    seed: Seed = 0,
    weights: Weights = None,
    encoder: EncoderCode = None,
    json_output: Json = False,
) -> None:
    """Write the encoder with its adapter merged as ONNX graphs, each checked against torch before it is kept.

    With `--trt` or `--for`, also build plans from them on this machine, each held to the precision asked for. With
    `--until-parity` exits with 1 where no engine of some precision passes.
    """
    console, consent = Console(json_output=json_output), Consent(encoder, weights)
    names = words(DEFAULT if precision is None else precision)
    if not names:
        raise ConfigError(
            f"`--precision` is empty; expected some of {', '.join(f'`{name}`' for name in PRECISIONS)}",
            hint=f"leave it out for {DEFAULT}",
        )
    asked = {
        "batch": batch,
        "memory": memory,
        "deterministic": deterministic or None,
        "version_compatible": version_compatible or None,
        "hardware": hardware,
    }
    settings = {name: value for name, value in asked.items() if value is not None}
    plans = trt or target is not None
    if settings and not plans:
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in settings)
        raise ConfigError(f"{flags} without `--trt`: graphs have no such settings", hint="add `--trt`")
    opened, gradient = Bundle.open(bundle), not no_gradient
    if plans:
        from advcal_edge.cli.plans import prepare

        chosen = {**settings, **({} if precision is None else {"precisions": precision})}
        prepared = prepare(opened, target, chosen, no_gradient)
    if until_parity:
        from advcal_edge.cli.parity import export_until_parity
        from advcal_edge.cli.request import Request

        request = Request(
            attacks=attacks, samples=samples, margin=margin, seed=seed, consent=replace(consent, built=plans)
        )
        wanted = prepared if plans else None
        chosen_names = prepared.precisions if plans else names
        raise typer.Exit(
            export_until_parity(opened, console, chosen_names, request, gradient=gradient, opset=opset, plans=wanted)
        )
    if not plans:
        _, result = run(opened, console, names, gradient=gradient, opset=opset, consent=consent)
        console.document(result.to_json())
        console.next(command("verify", bundle))
        return
    missing = prepared.missing(opened)
    if missing:
        console.say(f"not in the bundle yet: {', '.join(missing)}")
        forward = tuple(name for name in prepared.precisions if PRECISIONS[name].graph in missing)
        opened, _ = run(opened, console, forward, gradient=BACKWARD_GRAPH in missing, opset=opset, consent=consent)
    opened, built = prepared.build(opened, console)
    console.document({"plans": [plan.to_json() for plan in built]})
    console.next(command("verify", bundle, "--engine", built[0].path))


def run(
    bundle: Bundle,
    console: Console,
    precisions: tuple[str, ...],
    *,
    gradient: bool = True,
    opset: int = 20,
    consent: Consent = NOTHING,
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
        module_from_bundle(bundle, consent),
        precisions=precisions,
        gradient=gradient,
        opset=opset,
        report=lambda name: console.say(f"writing {name}"),
    )
    console.result(table(["graph", "MB", "s", "against torch"], [row(graph) for graph in result.graphs]))
    console.say(f"wrote {len(result.graphs)} graphs to `{bundle.path / 'onnx'}`")
    return bundle, result


def words(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def row(graph: ExportedGraph) -> list[str]:
    """One graph: size, time, and how far it is from the module it was made of."""
    return [graph.path, f"{graph.bytes / 1e6:.2f}", f"{graph.seconds:.1f}", closeness(graph.fidelity)]


def closeness(fidelity: Any) -> str:
    """The numbers of a fidelity section that people compare."""
    if "cosine_min" in fidelity:
        emulated = ", emulated" if fidelity.get("emulated") else ""
        return f"cosine >= {fidelity['cosine_min']:.6f}, relative L2 {fidelity['relative_l2']:.1e}{emulated}"
    return f"relative L2 {fidelity['relative_l2']:.1e}, signs agree {100 * fidelity['sign_agreement']:.2f} %"
