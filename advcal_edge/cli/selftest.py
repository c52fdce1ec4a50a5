"""`advcal-edge selftest`: does a verified engine answer on this device as it did when it was verified?"""

from __future__ import annotations

from typing import Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import AllowPlanCode, BundlePath, Json
from advcal_edge.commands import command


def selftest(
    bundle: BundlePath,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, a precision like int8, or a path; auto prefers verified engines.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads inside the engine; default: the engine decides.")
    ] = None,
    allow_plan_code: AllowPlanCode = False,
    json_output: Json = False,
) -> None:
    """Replay on this device what `verify` stored of an engine, and compare; exit 0 or 1."""
    from advcal_edge.bundle import Bundle
    from advcal_edge.runtime import Embedder
    from advcal_edge.runtime.selftest import run_selftest

    console = Console(json_output=json_output)
    embedder = Embedder.load(bundle, engine, threads=threads, allow_plan_code=allow_plan_code)
    console.say(f"selftest  {embedder.precision} on {embedder.fingerprint}")
    result = run_selftest(embedder, Bundle.open(bundle))
    kinds = ", ".join(f"{count} {name}" for name, count in result.counts.items())
    per_pass = 1000 * result.seconds / max(result.passes, 1)
    console.say(
        f"{kinds} inputs, alone and as one batch, twice: {result.passes} passes of {per_pass:.2f} ms on average"
    )
    for words in (*result.differences, *result.failures):
        console.say(words)
    console.result(
        f"{result.status}: embeddings moved by at most {result.moved:.2g} of {result.limit:.2g}, {result.flips} labels"
        f" changed, {result.seconds:.2f} s"
    )
    console.document(
        {"engine": {"fingerprint": embedder.fingerprint, "sha256": embedder.runner.sha256}, **result.to_json()}
    )
    if not result.passed:
        console.next(command("verify", bundle, "--engine", engine))
        raise typer.Exit(1)
