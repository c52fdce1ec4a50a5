"""`advcal-edge export`: write the calibrated encoder as ONNX graphs, forward and backward, and as plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, EncoderCode, Json, Seed, Weights, terms
from advcal_edge.commands import command
from advcal_edge.consent import Consent
from advcal_edge.errors import ConfigError
from advcal_edge.precision import DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.report.table import one_line, table, wrapped
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    from advcal_edge.export.parity import Search
    from advcal_edge.export.result import ExportedGraph, ExportResult, Missing
    from advcal_edge.export.run import ExportOptions
    from advcal_edge.export.tensorrt.plans import BuiltPlan

DEFAULT = ",".join(DEFAULT_PRECISIONS)


def export(
    bundle: BundlePath,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help=f"Forward graphs: some of {', '.join(PRECISIONS)}; default {DEFAULT}."),
    ] = None,
    no_gradient: Annotated[
        bool,
        typer.Option("--no-gradient", help="Write no backward graph; only a machine with torch can then verify."),
    ] = False,
    opset: Annotated[int, typer.Option("--opset", help="ONNX opset, 18 to 20.")] = 20,
    trt: Annotated[
        bool,
        typer.Option("--trt", help="Build TensorRT plans from the graphs; missing graphs are exported first."),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Build for `jetson-orin`, `jetson-thor`, `server` or `rtx` (TensorRT-RTX), or for a TOML file.",
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", help="Batch sizes of a plan: `min,opt,max`; default 1,8,32.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", help="MiB that the builder may use; 1024 on boards with 8 GB.")
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Build from stored timings only and fail if one is missing; RTX: build twice, compare.",
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="The plan also runs on newer TensorRT. Slower, and it contains code that runs when it is loaded.",
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
    search: Annotated[
        str,
        typer.Option(
            "--search",
            help="For `--until-parity`, what stays fp32: `steps` of growing parts, or `nodes`, the matrix products that"
            " cost most.",
        ),
    ] = "steps",
    samples: Annotated[int, typer.Option("--samples", min=1, help="For `--until-parity`, as in `verify`.")] = 500,
    attacks: Annotated[str, typer.Option("--attacks", help="For `--until-parity`, as in `verify`.")] = "quick",
    margin: Annotated[float, typer.Option("--margin", help="For `--until-parity`, as in `verify`.")] = MARGIN,
    seed: Seed = 0,
    weights: Weights = None,
    encoder: EncoderCode = None,
    triton: Annotated[
        Path | None,
        typer.Option(
            "--triton", help="Write a model repository of Triton from an engine of the bundle, and no engine."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="For `--triton`: auto, a precision, or an engine's name in the bundle.")
    ] = "auto",
    json_output: Json = False,
) -> None:
    """Write the encoder with its adapter merged as ONNX graphs, and check each against torch.

    With `--trt` or `--for`, also build plans from them on this machine and check the precision of each. What can be
    made is kept. Exits with 1 if some of what was asked for cannot, or with `--until-parity` if no engine of some
    precision passes. With `--triton`, an engine that the bundle already has is put into a folder that Triton serves.
    """
    from advcal_edge.export.run import ExportOptions
    from advcal_edge.verify.options import VerifyOptions, words

    console, consent = Console(json_output=json_output), Consent(encoder, weights)
    if precision is not None and not words(precision):
        raise ConfigError(
            f"`--precision` is empty; expected some of {', '.join(f'`{name}`' for name in PRECISIONS)}",
            hint=f"leave it out for {DEFAULT}",
        )
    plans = trt or target is not None
    asked = {
        "batch": batch,
        "memory": memory,
        "deterministic": deterministic or None,
        "version_compatible": version_compatible or None,
        "hardware": hardware,
    }
    if triton is not None:
        from advcal_edge.cli.triton import check_alone, write_repository

        making = {"precision": precision, "opset": opset != 20, "trt": trt, "for": target, "no-gradient": no_gradient}
        searched = {"until-parity": until_parity, "search": search != "steps"}
        every = {**making, **asked, **searched, "weights": weights, "encoder": encoder}
        check_alone(
            bundle, {f"--{name.replace('_', '-')}": value not in (None, False) for name, value in every.items()}
        )
        return write_repository(Bundle.open(bundle), triton, engine, console)
    if engine != "auto":
        raise ConfigError(f"`--engine {engine}` without `--triton`: nothing is served", hint="add `--triton DIR`")
    built = replace(consent, built=plans)
    options = ExportOptions(
        None if precision is None else words(precision),
        not no_gradient,
        opset,
        plans,
        target,
        {name: value for name, value in asked.items() if value is not None},
        VerifyOptions(attacks=attacks, samples=samples, margin=margin, seed=seed, consent=built)
        if until_parity
        else None,
        consent,
        search,
    )
    result = run(Bundle.open(bundle), console, options)
    console.document(result.to_json())
    if until_parity:
        console.next(command("bench" if result.reached and len(result.searches) == 1 else "verify", bundle))
        raise typer.Exit(0 if result.reached and result.complete else 1)
    if any(graph.kind == "forward" for graph in result.graphs) or result.plans:
        console.next(command("verify", bundle, *(("--engine", result.plans[0].path) if result.plans else ())))
    raise typer.Exit(0 if result.complete else 1)


def run(bundle: Bundle, console: Console, options: ExportOptions) -> ExportResult:
    """Export and show the files written; `demo` uses this too."""
    from advcal_edge.cli.verification import watch as watch_verification
    from advcal_edge.export.run import Watch, export

    def show_graphs(result: ExportResult) -> None:
        console.result(table(["graph", "MB", "s", "against torch"], [graph_row(graph) for graph in result.graphs]))
        wrote, asked = len(result.graphs), len(result.graphs) + len(result.missing)
        of = f"{wrote} of {asked}" if result.missing else str(wrote)
        console.say(f"wrote {of} graphs to `{bundle.path / 'onnx'}`")

    def show_plans(plans: Sequence[BuiltPlan]) -> None:
        console.result(table(["plan", "from", "asked", "achieved", "MB", "s"], [plan_row(plan) for plan in plans]))
        if any(plan.metadata.evidence == "network" for plan in plans):
            console.say(
                "the precision achieved was read from the typed network: nothing here can open a plan, so none was run"
            )
        console.say(f"wrote {len(plans)} plans to `{bundle.path / 'engines'}`")

    bundle.require_calibration("export")
    console.say(terms(str(bundle.section("encoder").get("license"))))
    watch = Watch(
        console.say,
        show_graphs,
        show_plans,
        lambda search: console.result(search_text(search) + "\n"),
        watch_verification(bundle, console, []),
        lambda item: console.say(missing_line(item, kept=bundle.has(item.name))),
    )
    return export(bundle, options, watch=watch)


def missing_line(item: Missing, *, kept: bool) -> str:
    """What could not be made, why, and what follows from it; `kept` if the bundle has an earlier graph of that name."""
    if item.plan:
        follows = "attacks on the other plans use the gradient graph" if item.kind == "vjp" else "its graph is kept"
        return f"plan of {item.name} not built: {item.reason}; {follows}"
    if kept:
        return f"{item.name} not made: {item.reason}; the bundle keeps the one it had"
    if item.kind != "vjp":
        return one_line("; ".join(filter(None, [f"{item.name} not made: {item.reason}", item.error.hint])))
    return (
        f"gradient graph not made: {item.reason}; `verify` takes the gradient from torch where torch is installed, and"
        " elsewhere these engines cannot be verified"
    )


def graph_row(graph: ExportedGraph) -> list[str]:
    """One graph: size, time, and deviation from its torch module."""
    return [graph.path, f"{graph.bytes / 1e6:.2f}", f"{graph.seconds:.1f}", graph.closeness]


def plan_row(plan: BuiltPlan) -> list[str]:
    """One plan: path, source graph, precision requested and achieved, size and time."""
    metadata = plan.metadata
    achieved = f"{metadata.achieved} ({metadata.evidence}, {len(metadata.layers)} products)"
    size, seconds = f"{metadata.bytes / 1e6:.2f}", f"{metadata.seconds:.1f}"
    return [plan.path, metadata.graph, metadata.precision, achieved, size, seconds]


def search_text(search: Search) -> str:
    """Every attempt in a row, and the outcome of the search."""
    rows = [(item.step, (item.engine or "-")[:8], item.verdict.upper()) for item in search.attempts]
    blocks = [table((f"{search.asked} at step", "engine", "verdict"), rows)]
    why = [wrapped(f"  {item.step}  ", reason) for item in search.attempts for reason in item.reasons]
    kept = () if search.reached is None else search.reached.nodes
    ranked = [] if search.ranking is None else ["", *ranking_lines(search.ranking.shown(kept)), ""]
    return "\n".join([*blocks, *why, *ranked, wrapped("", outcome(search))])


def ranking_lines(shown: Mapping[str, Any]) -> list[str]:
    """The first products of a ranking and those that stay fp32, with the flips that each removes."""
    rows = [node_row(row, shown["flips"]) for row in shown["rows"]]
    head = ("product", "kind", "module", "removes", "share", "risk", "")
    about = (
        f"{shown['ranked']} products, on {shown['inputs']} inputs near the decision, in {shown['builds']} graphs;"
        " removes: of the flips, if it alone stays fp32; risk: inputs it moves to the decision, if it alone is reduced"
    )
    return [table(head, rows), wrapped("  ", about)]


def node_row(row: Mapping[str, Any], flips: int) -> list[str]:
    """One product of a ranking."""
    removed = "-" if row["removed"] is None else f"{row['removed']} of {flips} flips"
    share = "-" if row["share"] is None else f"{100 * row['share']:.0f} %"
    kept = "fp32" if row["kept"] else ""
    return [row["node"], row["kind"], row["scope"] or "-", removed, share, f"{row['risk']:.1f}", kept]


def outcome(search: Search) -> str:
    """The outcome of a search in one sentence."""
    asked, reached = search.asked, search.reached
    if reached is None and search.ranking is not None:
        closest = "" if search.closest is None else f"; `{search.closest}` came closest"
        return f"no set of products in fp32 brings {asked} to parity: the bundle holds no {asked} graph{closest}"
    if reached is None:
        return f"no step of {asked} is on a par with its reference: the bundle holds no {asked} graph"
    if reached.fp32:
        return f"{asked} was not reached: what passes is the fp32 graph, and the bundle holds no {asked} graph"
    if reached.nodes:
        return one_line(
            f"{asked} passes with {len(reached.nodes)} of {len(search.ranking.nodes) if search.ranking else 0} products"
            f" in fp32, step `{reached.name}`: {', '.join(reached.nodes)}"
        )
    return one_line(f"{asked} passes at step `{reached.name}`: {reached.what}")
