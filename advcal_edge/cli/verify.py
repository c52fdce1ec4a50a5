"""`advcal-edge verify`: attack the exported engines and decide whether they are as robust as the calibrated model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.cli import transfer
from advcal_edge.cli.console import Console
from advcal_edge.cli.heartbeat import heartbeat
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
from advcal_edge.commands import command
from advcal_edge.consent import Consent
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.manifest import MANIFEST
from advcal_edge.precision import PRECISIONS
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    from advcal_edge.verify import Verification, VerifyOptions
    from advcal_edge.verify.cluster.pool import Where
    from advcal_edge.verify.run import Watch, Written

RANK = ("pass", "inconclusive", "fail")


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


def choose_workers(workers: int | None, cluster: str | None) -> Where | None:
    """Who does the work, if it is not this process alone.

    Raises:
        ConfigError: an unknown kind of cluster, or no address.
    """
    from advcal_edge.verify.cluster.pool import Where

    if cluster is not None:
        return Where.parse(cluster)
    return None if workers in (None, 1) else Where.here(workers or 1)


def run(
    bundle: Bundle, console: Console, options: VerifyOptions, state: Path | None = None, where: Where | None = None
) -> list[dict[str, Any]]:
    """Verify, alone or with workers, and show one report per engine; `demo` uses this too."""
    from advcal_edge.verify.run import verify

    documents: list[dict[str, Any]] = []
    with heartbeat(console):
        if where is None:
            verify(bundle, options, state=state, watch=watch(bundle, console, documents))
        else:
            from advcal_edge.verify.cluster.spread import verify_spread

            verify_spread(bundle, where, options, state=state, watch=watch(bundle, console, documents))
    return documents


def suggest_more(bundle: Bundle, console: Console, documents: list[dict[str, Any]], engine: str | None) -> None:
    """Show how to go on after samples that did not decide, if the bundle has more of them."""
    there = len(bundle.samples("probe.npz").y)
    derived = [document["derived"] for document in documents]
    wanted = [item["samples_to_decide"] or 0 for found in derived for item in found["comparisons"] if item["decides"]]
    used = max(found["samples"] for found in derived)
    if not any(wanted) or used >= there:
        return
    samples = min(there, max(*wanted, 2 * used))
    named = () if engine is None else ("--engine", engine)
    if all("sequential" in document["measured"] for document in documents):
        console.say("finished samples are kept: the same command with more `--samples` goes on from there")
    else:
        console.say("another fixed number of samples counts as another try; a sequential run may be extended")
    console.next(command("verify", bundle.path, *named, "--sequential", "--samples", samples))


def run_shard(bundle: Bundle, console: Console, options: VerifyOptions, state: Path | None, text: str) -> int:
    """Do one part of a run and show what is missing; returns the exit code."""
    from advcal_edge.verify.run import verify_shard
    from advcal_edge.verify.scheduler import find_shard

    part, source = find_shard(text)
    if source is not None:
        console.say(f"shard {part}, from {source}")
    with heartbeat(console):
        result = verify_shard(bundle, part, options, state=state, watch=watch(bundle, console, []))
    console.say(f"shard {result.shard} is done, in {result.state}")
    console.say(f"missing: {'; '.join(result.missing)}" if result.missing else "all shards are done")
    console.document(result.to_json())
    console.next(command("verify", bundle.path, "--merge", "--state", result.state))
    return 0


def run_merge(bundle: Bundle, console: Console, consent: Consent, state: Path | None) -> list[dict[str, Any]]:
    """Decide on a run that shards have completed, and show its reports."""
    from advcal_edge.verify.run import merge_shards

    documents: list[dict[str, Any]] = []
    with heartbeat(console):
        merge_shards(bundle, consent, state=state, watch=watch(bundle, console, documents))
    return documents


def watch(bundle: Bundle, console: Console, documents: list[dict[str, Any]]) -> Watch:
    """Callbacks that show what runs and each report, and collect the documents."""
    from advcal_edge.report.text import verification_table
    from advcal_edge.verify.run import Watch

    def show(written: Written) -> None:
        if written.lacking is not None:
            console.say(f"report.html was not rendered: {written.lacking.message}; {written.lacking.hint}")
        for path in written.files:
            console.say(f"wrote {path}")
        documents.append(dict(written.document))
        console.result(verification_table(written.document) + "\n")

    return Watch(
        console.progress,
        lambda run, options: announce(bundle, console, options, run),
        lambda standings: console.note("; ".join(filter(None, map(str, standings)))),
        written=show,
        said=console.say,
    )


def announce(bundle: Bundle, console: Console, options: VerifyOptions, run: Verification) -> None:
    """Show what runs, on what, with which budget, and what is already done."""
    if len(run.samples) < options.samples:
        console.say(f"the bundle holds {len(run.samples)} held-out samples, not {options.samples}; all are used")
    if options.engine is None and bundle.has(PRECISIONS["bf16"].graph):
        console.say("forward.bf16.onnx is left out: bf16 needs a GPU")
    models, threat = run.models, run.samples.threat
    console.say(
        f"verify  {bundle.path}  {', '.join(models.engines)} against {models.reference.info['kind']}"
        f"  n={len(run.samples)}  {threat}  seed {options.seed}  {run.budget.describe(threat.norm)}"
    )
    if threat != bundle.threat and bundle.comparison is not None:
        console.say(f"the samples were stored for {bundle.threat}: reports on {threat} lie beside those")
    elif threat != bundle.threat:
        console.say(
            f"the bundle was calibrated against {bundle.threat}: reports on {threat} lie beside its own and do not"
            " count as its verification"
        )
    from_torch = [name for name, model in models.engines.items() if model.info.get("gradient_from") == "torch"]
    if from_torch:
        console.say(f"the gradient of {', '.join(from_torch)} is that of the torch module")
    if models.sources:
        console.say(f"adversarial examples also from {', '.join(models.sources)}")
    for name, model in models.engines.items():
        if model.calls > 1:
            console.say(f"{name} does not repeat itself: attacks average {model.calls} of its answers")
    done = sum(run.state.done(index) for index in range(run.samples.count))
    if done:
        console.say(f"{done} of {run.samples.count} blocks of samples are done already")


def write_sarif(
    console: Console,
    path: Path,
    documents: Sequence[Mapping[str, Any]],
    folder: Path,
    findings: Sequence[Mapping[str, Any]] = (),
    report: Path | None = None,
) -> None:
    """Write verdicts, checks and findings about a report for CI systems."""
    from advcal_edge.report.sarif import encode, sarif
    from advcal_edge.storage import write_atomic

    place = None if report is None else from_here(report)
    write_atomic(path, encode(sarif(documents, from_here(folder), findings, place)))
    console.say(f"wrote {path}")


def from_here(path: Path) -> Path:
    """A path relative to the working folder if it lies below, as code hosts want it; else an absolute one."""
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


def audit_report(
    console: Console,
    path: Path,
    bundle: Path | None,
    engine: Path | None,
    options: VerifyOptions,
    public_key: Path | None = None,
    sarif: Path | None = None,
) -> bool:
    """Check hashes and arithmetic of a report without attacking; returns whether all of it is correct.

    A report that passed must also have passed on the terms of `options`, by default the bundle's. A signed bundle is
    compared with what was signed; with a public key it must be signed with it, and attested.

    Raises:
        ConfigError: no bundle to compare it with.
        BundleError: the report cannot be read, or was changed since the bundle listed it.
    """
    from advcal_edge.attestation import PublicKey
    from advcal_edge.report.text import render_findings
    from advcal_edge.verify.audit import audit, terms_of
    from advcal_edge.verify.signature_findings import signature_findings

    document = read_object(path, limits.REPORT_BYTES, BundleError, hint="verify again, or copy the report again")
    opened = Bundle.open(bundle if bundle is not None else bundle_of(path))
    if path.resolve().is_relative_to(opened.path.resolve()):
        inner = path.resolve().relative_to(opened.path.resolve()).as_posix()
        if opened.has(inner):
            opened.file(inner)
    console.say(f"check  {path}  against {opened.path}")
    key = None if public_key is None else PublicKey.read(public_key)
    findings = [
        *audit(document, opened, engine, terms_of(opened, options)),
        *signature_findings(document["measured"], opened, key),
    ]
    console.result(render_findings(findings))
    holds = all(finding.status == "ok" for finding in findings)
    console.document({"holds": holds, "findings": [finding.to_json() for finding in findings]})
    if sarif is not None:
        open_ = [finding.to_json() for finding in findings if finding.status != "ok"]
        write_sarif(console, sarif, [document], opened.path, open_, path)
    if key is None and any(finding.name == "signature" for finding in findings):
        console.say("the bundle is signed; by whom was not checked: no `--public-key`")
    if any(finding.name == "terms" and finding.status == "wrong" for finding in findings):
        console.say(
            "to accept other terms, state them: `--margin`, `--norm`, `--eps`, `--losses`, `--per-class-margin`"
        )
    word = "holds" if holds else "does not hold"
    console.say(f"the report {word}; its verdict is {document['derived'].get('verdict')}. Nothing was attacked")
    return holds


def bundle_of(path: Path) -> Path:
    """The bundle whose folder `reports/ENGINE/` contains the report.

    Raises:
        ConfigError: the report is elsewhere.
    """
    parents = path.resolve().parents
    if len(parents) > 2 and parents[1].name == "reports" and (parents[2] / MANIFEST).is_file():
        return parents[2]
    raise ConfigError(
        f"`{path}` lies in no bundle; expected one to hold it against",
        hint=command("verify", "BUNDLE", "--check", path),
    )
