"""`advcal-edge verify`: attack the exported engine and say whether it is as robust as the model that was calibrated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import AllowPlanCode, EncoderCode, Json, Seed, Weights
from advcal_edge.cli.request import Request, state_root, verification
from advcal_edge.cli.victims import BACKWARD
from advcal_edge.commands import command
from advcal_edge.consent import Consent
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.precision import PRECISIONS
from advcal_edge.stats import MARGIN

if TYPE_CHECKING:
    from advcal_edge.verify import Report, Verification

RANK = ("pass", "inconclusive", "fail")


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="Folder that `calibrate` or `demo` wrote.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", help="A precision like `fp16`, any ONNX file or plan; every forward graph and plan if left out."
        ),
    ] = None,
    attacks: Annotated[str, typer.Option("--attacks", help="Budget: `quick`, `standard` or `full`.")] = "quick",
    norm: Annotated[
        str | None,
        typer.Option("--norm", help="Norm of the ball around a sample, `linf` or `l2`; the bundle's own."),
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radius as a fraction of the bounds, like `4/255`; the bundle's own.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Held-out samples, at most.")] = 500,
    margin: Annotated[float, typer.Option("--margin", help="Largest drop allowed, as a fraction of samples.")] = MARGIN,
    losses: Annotated[
        str | None, typer.Option("--losses", help="Losses of APGD: some of ce, ce-scaled, margin, dlr.")
    ] = None,
    reference: Annotated[str, typer.Option("--reference", help="`auto`, `torch` or `onnx` (fp32 graph).")] = "auto",
    sources: Annotated[
        str,
        typer.Option("--sources", help="Who else lends inputs: trunk, fp32, fp16, int8, fp8; `all` or `none`."),
    ] = "all",
    rebuilds: Annotated[int, typer.Option("--rebuilds", min=0, help="Build each engine again so often.")] = 0,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Run the engine in polygraphy too, and stop where the two disagree.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Do part i of n, like `2/8`, and leave the verdict to `--merge`.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Put the shards of a run together and decide.")] = False,
    state: Annotated[
        Path | None, typer.Option("--state", help="Where a run keeps what it has done; beside the bundle.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Check hashes and arithmetic of this report.json; attack nothing.")
    ] = None,
    weights: Weights = None,
    encoder: EncoderCode = None,
    allow_plan_code: AllowPlanCode = False,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Attack engines and reference on the same samples, judge everything by both, and decide on the paired difference.

    An interrupted run goes on where it was. Exits with 0 where every engine passed (or a shard is done, or a report
    holds), 1 where one failed or remained inconclusive.
    """
    console, consent = Console(json_output=json_output), Consent(encoder, weights, allow_plan_code)
    request = Request(
        engine, attacks, norm, eps, samples, margin, losses, reference, sources, rebuilds, cross_check, seed, consent
    )
    modes = {"--shard": shard is not None, "--merge": merge, "--check": check is not None}
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(f'`{name}`' for name in chosen)} exclude each other", hint="use one of them")
    if shard is not None and rebuilds:
        raise ConfigError(
            "`--shard` and `--rebuilds` exclude each other: another machine would build other engines",
            hint="leave out `--shard`",
        )
    if check is not None:
        from advcal_edge.cli.auditing import audit_report

        engine_path = None if engine is None else Path(engine)
        raise typer.Exit(0 if audit_report(console, check, bundle, engine_path) else 1)
    if bundle is None:
        raise ConfigError("`verify` needs a bundle", hint=command("verify", "BUNDLE"))
    started = time.perf_counter()
    opened = Bundle.open(bundle)
    root = state or state_root(opened)
    if shard is not None:
        raise typer.Exit(run_shard(opened, console, request, root, shard))
    if merge:
        opened, documents = merge_shards(opened, console, root, consent)
    else:
        opened, documents = run(opened, console, request, root)
    verdict = max((document["verdict"] for document in documents), key=RANK.index)
    console.document({"verdict": verdict, "seconds": time.perf_counter() - started, "engines": documents})
    if verdict == "pass" and all(document["threat"]["norm"] == opened.threat.norm for document in documents):
        console.next(command("embed", bundle, "FILE", "--require-verified"))
    raise typer.Exit(0 if verdict == "pass" else 1)


def run(
    bundle: Bundle,
    console: Console,
    request: Request,
    root: Path | None = None,
    finishing: Callable[[Report], Report] | None = None,
) -> tuple[Bundle, list[dict[str, Any]]]:
    """Verify, write and show one report for each engine; `demo` and `export --until-parity` run this too.

    `finishing` has the last word on each report before it is written.

    Raises:
        ConfigError: settings that cannot be honoured.
        BundleError: a file of the bundle was changed, or a report cannot be written.
    """
    root = root or state_root(bundle)
    with verification(bundle, request, root) as prepared:
        announce(bundle, console, request, prepared)
        prepared.run(console.progress)
        return finish(bundle, console, prepared, finishing)


def run_shard(bundle: Bundle, console: Console, request: Request, root: Path, text: str) -> int:
    """Do one part of a run and say what is missing; the exit code."""
    from advcal_edge.verify import Shard

    shard = Shard.parse(text)
    with verification(bundle, request, root) as prepared:
        announce(bundle, console, request, prepared)
        prepared.run(console.progress, shard)
        missing = prepared.missing()
        console.say(f"shard {shard} is done, in {prepared.state.folder}")
        console.say(f"missing: {'; '.join(missing)}" if missing else "all shards are done")
        console.document({"shard": str(shard), "state": str(prepared.state.folder), "missing": missing})
        console.next(command("verify", bundle.path, "--merge", "--state", prepared.state.folder))
    return 0


def merge_shards(bundle: Bundle, console: Console, root: Path, consent: Consent) -> tuple[Bundle, list[dict[str, Any]]]:
    """Decide about a run that shards have done.

    Raises:
        ConfigError: no run, several, one that is not complete, or one of another bundle or other engines.
    """
    from advcal_edge.verify import State

    state = State.find(root)
    request = Request.from_json(state.run().get("request"), consent)
    with verification(bundle, request, state.folder.parent) as prepared:
        if prepared.state.folder != state.folder:
            raise ConfigError(
                f"the run in `{state.folder}` is not one of `{bundle.path}` with this reference on this machine",
                hint="merge with the bundle, the weights and the versions that the shards had",
            )
        if missing := prepared.missing():
            raise ConfigError(f"the run is not complete; missing: {'; '.join(missing)}", hint="run the other shards")
        announce(bundle, console, request, prepared)
        return finish(bundle, console, prepared)


def announce(bundle: Bundle, console: Console, request: Request, prepared: Verification) -> None:
    """Say what runs, on what, with which budget, and what is done already."""
    if len(prepared.samples) < request.samples:
        console.say(f"the bundle holds {len(prepared.samples)} held-out samples, not {request.samples}; all are used")
    if request.engine is None and bundle.has(PRECISIONS["bf16"].graph):
        console.say("forward.bf16.onnx is left out: bf16 needs a GPU")
    players, threat = prepared.lineup, prepared.samples.threat
    console.say(
        f"verify  {bundle.path}  {', '.join(players.engines)} against {players.reference.info['kind']}"
        f"  n={len(prepared.samples)}  {threat}  seed {request.seed}  {prepared.budget.describe(threat.norm)}"
    )
    if threat.norm != bundle.threat.norm:
        console.say(
            f"the bundle was calibrated against {bundle.threat}: reports on {threat.norm} lie beside its own and do not"
            " count as its verification"
        )
    if players.sources:
        console.say(f"inputs also from {', '.join(players.sources)}")
    for name, player in players.engines.items():
        if player.calls > 1:
            console.say(f"{name} does not repeat itself: attacks average {player.calls} of its answers")
    done = sum(prepared.state.done(index) for index in range(prepared.samples.count))
    if done:
        console.say(f"{done} of {prepared.samples.count} blocks of samples are done already")


def finish(
    bundle: Bundle, console: Console, prepared: Verification, finishing: Callable[[Report], Report] | None = None
) -> tuple[Bundle, list[dict[str, Any]]]:
    """Make, keep and show the reports, then forget the state of the run."""
    from advcal_edge.report.text import verification_table

    documents = []
    for found in reports(bundle, prepared):
        report = found if finishing is None else finishing(found)
        bundle, document = keep(bundle, report, console)
        documents.append(document)
        console.result(verification_table(document) + "\n")
    prepared.state.clear()
    return bundle, documents


def reports(bundle: Bundle, prepared: Verification) -> list[Report]:
    """One for each engine; what its other builds did is part of it."""
    about = context(bundle)
    made = {
        name: prepared.report(name, context=about, hashes=hashes(bundle, player.info))
        for name, player in prepared.lineup.engines.items()
    }
    builds = prepared.lineup.builds
    if not builds:
        return list(made.values())
    return [made[name].rebuilt([made[other] for other in others]) for name, others in builds.items()]


def keep(bundle: Bundle, report: Report, console: Console) -> tuple[Bundle, dict[str, Any]]:
    """Write report.json and report.html into the bundle."""
    from advcal_edge.report.html import render_html

    document = report.to_json()
    norm = document["threat"]["norm"]
    beside = "" if norm == bundle.threat.norm else f"-{norm}"  # a report on another norm replaces none on the bundle's
    folder = f"reports/{document['engine']['sha256'][:8]}{beside}"
    files = {f"{folder}/report.json": (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()}
    try:
        files[f"{folder}/report.html"] = render_html(document).encode()
    except DependencyError as error:
        console.say(f"report.html was not rendered: {error.message}; {error.hint}")
    bundle = bundle.add(files)
    for name in files:
        console.say(f"wrote {bundle.path / name}")
    return bundle, document


def context(bundle: Bundle) -> dict[str, Any]:
    """Where the engine comes from, as the manifest has it."""
    manifest = bundle.manifest
    kept = {name: manifest.get(name) for name in ("tool", "encoder", "modality", "threat", "adapter", "data")}
    listed = {
        name: entry["sha256"]
        for name, entry in manifest["files"].items()
        if not name.startswith(("reports/", "engines/"))
    }
    return {**kept, "labels": list(bundle.centers().labels), "hashes": listed}


def hashes(bundle: Bundle, engine: Mapping[str, Any]) -> dict[str, str | None]:
    """What exactly was tested, by hash."""
    files = bundle.manifest["files"]
    plan = engine.get("plan", {})
    return {
        "engine": engine["sha256"],
        "graph": plan.get("graph_sha256", engine["sha256"]),
        "gradient": plan.get("backward_sha256") or (files[BACKWARD]["sha256"] if bundle.has(BACKWARD) else None),
        "bundle": bundle.identity(),
        "data": files["probe.npz"]["sha256"],
        "centers": files["centers.safetensors"]["sha256"],
    }
