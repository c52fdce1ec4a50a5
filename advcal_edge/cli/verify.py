"""`advcal-edge verify`: attack the exported engines and decide whether they are as robust as the calibrated model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli import transfer
from advcal_edge.cli.audit import audit_report, write_sarif
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import (
    AllowPlanCode,
    EncoderCode,
    Json,
    Layout,
    Output,
    PublicKeyFile,
    Sarif,
    Scale,
    Seed,
    Weights,
)
from advcal_edge.cli.pair import (
    CentersFile,
    Data,
    GradientGraph,
    Kind,
    Labels,
    ModalityName,
    Out,
    Pair,
    Settings,
    SkipBad,
)
from advcal_edge.cli.verification import RANK, choose_workers, run, run_merge, run_shard, suggest_more
from advcal_edge.commands import command
from advcal_edge.consent import Consent
from advcal_edge.errors import ConfigError
from advcal_edge.report.selective import ALPHA
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    pass


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="Bundle folder, written by `calibrate` or `demo`.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="Precision like `fp16`, or path of a graph, IR or plan; default: all graphs and plans."
        ),
    ] = None,
    attacks: Annotated[str, typer.Option("--attacks", help="Budget: `quick`, `standard` or `full`.")] = "quick",
    norm: Annotated[
        str | None,
        typer.Option("--norm", help="Norm of the ball around a sample, `linf` or `l2`; default: the bundle's."),
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radius as a fraction of the bounds, `4/255`; default: the bundle's.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Maximum number of held-out samples.")] = 500,
    margin: Annotated[float, typer.Option("--margin", help="Largest drop allowed, as a fraction of samples.")] = MARGIN,
    per_class_margin: Annotated[
        float | None,
        typer.Option("--per-class-margin", help="Largest drop allowed in any class; default: classes do not decide."),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha", help="Largest share of wrong answers among those that an engine accepts where it may abstain."
        ),
    ] = ALPHA,
    losses: Annotated[
        str | None, typer.Option("--losses", help="Losses of APGD: some of ce, ce-scaled, margin, dlr.")
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            help="`auto`, `torch` or `onnx` (fp32 graph); without a bundle an ONNX file or `package.module:factory`.",
        ),
    ] = "auto",
    gradient: Annotated[
        str,
        typer.Option(
            "--gradient",
            help="Backward pass of the engines: `graph`, `torch`, or `auto`: the bundle's graph or plan, else torch.",
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option("--device", help="Where models in torch compute: `auto`, `cpu`, `cuda` or `cuda:1`.")
    ] = "auto",
    sources: Annotated[
        str,
        typer.Option(
            "--sources",
            help="Models whose adversarial examples are also tried: trunk, fp32, fp16, int8, fp8; `all` or `none`.",
        ),
    ] = "all",
    rebuilds: Annotated[int, typer.Option("--rebuilds", min=0, help="Number of rebuilds per engine.")] = 0,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Also run the engine in polygraphy, and stop if the two disagree.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Do part i of n, like `2/8`; `auto` asks SLURM, torchrun or Kubernetes; `--merge` then decides.",
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Merge the shards of a run and decide.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of processes of this machine that share the run.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", help="Share the run among the workers of a cluster: `dask:tcp://HOST:8786` or `ray:auto`."
        ),
    ] = None,
    craft: Annotated[
        Path | None,
        typer.Option("--craft", help="Craft only, and write the inputs to this suite.npz, for a board without torch."),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option("--suite", help="Judge only: the inputs of this suite.npz, on one engine; no verification."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="Folder for the progress of runs; default: next to the bundle.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check hashes and arithmetic of this report.json without attacking.")
    ] = None,
    public_key: PublicKeyFile = None,
    sarif: Sarif = None,
    data: Data = None,
    modality: ModalityName = None,
    kind: Kind = None,
    centers: CentersFile = None,
    labels: Labels = None,
    gradient_graph: GradientGraph = None,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    out: Out = None,
    output: Output = None,
    layout: Layout = None,
    scale: Scale = 1.0,
    weights: Weights = None,
    encoder: EncoderCode = None,
    allow_plan_code: AllowPlanCode = False,
    seed: Seed = 0,
    sequential: Annotated[
        bool,
        typer.Option(
            "--sequential",
            help="Stop as soon as the samples decide, at `--samples` at the latest; may be looked at and extended.",
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Attack engines and reference on the same samples, judge every input by both, and decide on the paired difference.

    Without BUNDLE, compares any two models: `--engine FILE --reference FILE --data FOLDER`.

    An interrupted run is resumed. Exits with 0 if every engine passed (or a shard is done, or a report is correct),
    1 if one failed or was inconclusive.
    """
    from advcal_edge.verify import VerifyOptions

    console, consent = Console(json_output=json_output), Consent(encoder, weights, allow_plan_code)
    options = VerifyOptions(
        engine,
        attacks,
        norm,
        eps,
        samples,
        margin,
        losses,
        reference,
        sources,
        rebuilds,
        cross_check,
        seed,
        consent,
        device,
        gradient,
        output=output,
        layout=layout,
        scale=scale,
        sequential=sequential,
        per_class_margin=per_class_margin,
        alpha=alpha,
    )
    modes = {
        "--shard": shard is not None,
        "--merge": merge,
        "--check": check is not None,
        "--workers": workers is not None,
        "--cluster": cluster is not None,
        "--craft": craft is not None,
        "--suite": suite is not None,
    }
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(f'`{name}`' for name in chosen)} exclude each other", hint="use one of them")
    pair = Pair(data, modality, kind, centers, labels, gradient_graph, settings, skip_bad, out)
    if check is not None:
        pair.refuse("a report is checked with the bundle that it is about")
        engine_path = None if engine is None else Path(engine)
        raise typer.Exit(0 if audit_report(console, check, bundle, engine_path, options, public_key, sarif) else 1)
    if public_key is not None:
        raise ConfigError("`--public-key` belongs to `--check`", hint=command("verify", "--check", "REPORT.json"))
    if shard is not None and sarif is not None:
        raise ConfigError("a shard has no verdict to write as SARIF", hint="give `--sarif` with `--merge`")
    if sarif is not None and (craft is not None or suite is not None):
        raise ConfigError("a suite has no verdict to write as SARIF", hint="leave out `--sarif`")
    started = time.perf_counter()
    if bundle is None:
        shared = {"weights": weights, "norm": norm, "eps": eps, "samples": samples, "device": device}
        opened, allowed = pair.compare(console, engine, reference, shared)
        consent = replace(consent, encoder=consent.encoder or allowed)
        options = replace(options, reference="auto", consent=consent)
    else:
        pair.refuse(f"`{bundle}` has samples and a reference of its own")
        opened = Bundle.open(bundle)
    if shard is not None:
        raise typer.Exit(run_shard(opened, console, options, state, shard))
    if craft is not None:
        raise typer.Exit(transfer.craft(opened, console, options, craft))
    if suite is not None:
        raise typer.Exit(transfer.judge(opened, console, options, suite))
    where = choose_workers(workers, cluster)
    documents = run_merge(opened, console, consent, state) if merge else run(opened, console, options, state, where)
    verdict = max((document["derived"]["verdict"] for document in documents), key=RANK.index)
    console.document({"verdict": verdict, "seconds": time.perf_counter() - started, "engines": documents})
    if sarif is not None:
        write_sarif(console, sarif, documents, opened.path)
    if verdict == "inconclusive":
        suggest_more(opened, console, documents, engine)
    elif opened.comparison is not None:
        if engine is not None and attacks == "quick":
            console.next(command("verify", opened.path, "--engine", engine, "--attacks", "standard"))
    elif verdict == "pass" and all(document["measured"]["threat"] == opened.threat.to_json() for document in documents):
        console.next(command("embed", opened.path, "FILE", "--require-verified"))
    raise typer.Exit(0 if verdict == "pass" else 1)
