"""Show a verification while it runs: in this process, with workers, as a shard, or merged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.heartbeat import heartbeat
from advcal_edge.commands import command
from advcal_edge.consent import Consent
from advcal_edge.precision import PRECISIONS

if TYPE_CHECKING:
    from advcal_edge.verify import Verification, VerifyOptions
    from advcal_edge.verify.cluster.pool import Where
    from advcal_edge.verify.outcome import Written
    from advcal_edge.verify.run import Watch

RANK = ("pass", "inconclusive", "fail")
"""Verdicts from good to bad."""


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
