"""`advcal-edge verify`: attack the exported engine and say whether it is as robust as the model that was calibrated."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json, Seed, Weights
from advcal_edge.cli.victims import engine_victim, engines, reference_victim
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.registry import choose
from advcal_edge.stats import MARGIN
from advcal_edge.storage import sha256_file
from advcal_edge.threat import parse_eps

if TYPE_CHECKING:
    from advcal_edge.verify import Report

RANK = ("pass", "inconclusive", "fail")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line."""

    engine: str | None = None
    attacks: str = "quick"
    eps: str | None = None
    samples: int = 500
    margin: float = MARGIN
    losses: str | None = None
    reference: str = "auto"
    seed: int = 0
    weights: Path | None = None


def verify(
    bundle: BundlePath,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="`fp32`, `fp16`, `int8` or any ONNX file; every forward graph if left out."),
    ] = None,
    attacks: Annotated[str, typer.Option("--attacks", help="Budget: `quick` or `standard`.")] = "quick",
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radius as a fraction of the bounds, like `4/255`; the bundle's own.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Held-out samples, at most.")] = 500,
    margin: Annotated[float, typer.Option("--margin", help="Largest drop allowed, as a fraction of samples.")] = MARGIN,
    losses: Annotated[
        str | None, typer.Option("--losses", help="Losses of APGD: some of ce, margin, dlr, joined by commas.")
    ] = None,
    reference: Annotated[str, typer.Option("--reference", help="`auto`, `torch` or `onnx` (fp32 graph).")] = "auto",
    weights: Weights = None,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Attack engines and reference on the same samples, judge everything by both, and decide on the paired difference.

    Exits with 0 where every engine passed, 1 where one failed or remained inconclusive.
    """
    console = Console(json_output=json_output)
    request = Request(engine, attacks, eps, samples, margin, losses, reference, seed, weights)
    started = time.perf_counter()
    opened = Bundle.open(bundle)
    opened, documents = run(opened, console, request)
    verdict = max((document["verdict"] for document in documents), key=RANK.index)
    console.document({"verdict": verdict, "seconds": time.perf_counter() - started, "engines": documents})
    if verdict == "pass":
        console.next(f"advcal-edge embed {bundle} FILE --require-verified")
    raise typer.Exit(0 if verdict == "pass" else 1)


def run(bundle: Bundle, console: Console, request: Request) -> tuple[Bundle, list[dict[str, Any]]]:
    """Verify, write and show one report for each engine; `demo` runs this too.

    Raises:
        ConfigError: settings that cannot be honoured.
        BundleError: a file of the bundle was changed, or a report cannot be written.
    """
    from advcal_edge.report.text import verification_table
    from advcal_edge.verify import BUDGETS, Samples, Verification

    budget = choose("attack budget", request.attacks, BUDGETS)
    centers = bundle.centers()
    if request.losses is not None:
        names = tuple(name.strip() for name in request.losses.split(",") if name.strip())
        budget = budget.with_losses(names, len(centers.labels))
    threat = bundle.threat if request.eps is None else bundle.threat.with_eps(parse_eps(request.eps))
    if threat.eps == 0:
        raise ConfigError("`--eps 0` leaves nothing to attack; expected a positive radius", hint="like `--eps 4/255`")
    victims = [engine_victim(bundle, path) for path in engines(bundle, request.engine)]
    probe = bundle.probe().head(request.samples)
    if len(probe) < request.samples:
        console.say(f"the bundle holds {len(probe)} held-out samples, not {request.samples}; all are used")
    reference, reference_info = reference_victim(bundle, request.reference, request.weights)
    precisions = ", ".join(info["precision"] for _, info in victims)
    console.say(
        f"verify  {bundle.path}  {precisions} against {reference_info['kind']}"
        f"  n={len(probe)}  {threat}  seed {request.seed}  {budget.describe()}"
    )
    samples = Samples(probe.x, probe.y, threat, request.seed, probe.partner)
    prepared = Verification.prepare(reference, bundle.modality, samples, budget, request.margin, console.progress)
    documents = []
    for victim, info in victims:
        report = prepared.run(
            victim,
            engine_info=info,
            reference_info=reference_info,
            context=context(bundle),
            progress=console.progress,
        )
        bundle, document = keep(bundle, report, console)
        documents.append(document)
        console.result(verification_table(document) + "\n")
    return bundle, documents


def keep(bundle: Bundle, report: Report, console: Console) -> tuple[Bundle, dict[str, Any]]:
    """Write report.json and report.html into the bundle."""
    from advcal_edge.report.html import render_html

    document = report.to_json()
    folder = f"reports/{document['engine']['sha256'][:8]}"
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
    kept = {name: manifest.get(name) for name in ("tool", "encoder", "modality", "adapter", "data")}
    return {
        **kept,
        "labels": list(bundle.centers().labels),
        "hashes": {
            "manifest": sha256_file(bundle.path / MANIFEST),
            **{name: entry["sha256"] for name, entry in manifest["files"].items() if not name.startswith("reports/")},
        },
    }
