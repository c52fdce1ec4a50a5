"""`advcal-edge bench`: latency of an engine on this machine, compared with the bare session inside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import (
    AllowPlanCode,
    BundlePath,
    Json,
    Layout,
    Output,
    Scale,
    bridged_line,
    interface_arguments,
)
from advcal_edge.commands import command
from advcal_edge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from advcal_edge.runtime.latency import Measurement

HEADER = ("batch", "what", "p50 ms", "p90 ms", "p99 ms", "cv", "samples/s", "bare p50 ms", "ratio", "95 %", "calls")


def bench(
    bundle: BundlePath,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, a precision like int8, or a path; auto prefers verified engines.")
    ] = "auto",
    batch: Annotated[str, typer.Option("--batch", metavar="N,N", help="Batch sizes to measure.")] = "1,8",
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Measured seconds per batch size.")] = 3.0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads inside the engine; default: the engine decides.")
    ] = None,
    frame: Annotated[
        Path | None,
        typer.Option(
            "--frame", help="Also time a raw frame of the sensor in this file: reading excepted, all the way."
        ),
    ] = None,
    output: Output = None,
    layout: Layout = None,
    scale: Scale = 1.0,
    allow_plan_code: AllowPlanCode = False,
    json_output: Json = False,
) -> None:
    """Time the engine on the bundle's own samples, interleaved with the bare engine."""
    import numpy as np

    from advcal_edge.bundle import Bundle
    from advcal_edge.provenance import environment
    from advcal_edge.report.table import table
    from advcal_edge.runtime import Embedder
    from advcal_edge.runtime.interface import Interface
    from advcal_edge.runtime.latency import WARM_UP, measure
    from advcal_edge.runtime.sensors import preprocess, read_frame
    from advcal_edge.runtime.sensors.frame import describe

    console, interface = Console(json_output=json_output), Interface(output, layout, scale)
    sizes = parse_batches(batch)
    embedder = Embedder.load(bundle, engine, threads=threads, allow_plan_code=allow_plan_code, interface=interface)
    probe = Bundle.open(bundle).probe(max(sizes))
    if len(probe) == 0:
        raise BundleError(f"bundle `{bundle}` keeps no samples to measure with", hint="calibrate again")
    machine = environment()
    counted = "threads chosen by the engine" if threads is None else f"{threads} thread{'s' * (threads > 1)}"
    console.say(f"bench  {embedder.precision} on {embedder.fingerprint}  batches {batch}, {seconds:g} s each")
    console.say(
        f"on {machine['processor']}, {machine['cores']} cores, {counted}, clocks not locked; {WARM_UP} warm-up calls;"
        " samples of the bundle, input checks included, preprocessing only of a raw frame"
    )
    for line in bridged_line(embedder.runner):
        console.say(line)
    results: list[tuple[str, Measurement]] = []

    def labelled(x: NDArray[np.float32]) -> object:
        return embedder.match(embedder(x))

    for done, size in enumerate(sizes):
        console.progress("bench", done, len(sizes))
        x = np.take(probe.x, np.arange(size) % len(probe), axis=0)
        results.append(("embed", measure(embedder, embedder.runner.bare, x, seconds=seconds)))
        results.append(("embed and label", measure(labelled, embedder.runner.bare, x, seconds=seconds)))
    if frame is not None:
        raw = read_frame(frame, embedder.modality)
        x = preprocess(embedder.modality, [raw])
        console.say(
            f"frame: {describe(raw)}; checked, preprocessed, embedded, labelled, against its tensor in the engine"
        )

        def whole(x: NDArray[np.float32]) -> object:
            return embedder.match(embedder.embed_frames([raw]))

        results.append(("raw frame", measure(whole, embedder.runner.bare, x, seconds=seconds)))
    console.progress("bench", len(sizes), len(sizes))
    console.result(table(HEADER, [row(what, result) for what, result in results]))
    console.document(
        {
            "engine": {"fingerprint": embedder.fingerprint, "sha256": embedder.runner.sha256},
            "verified": embedder.verified,
            "threads": threads,
            "warm_up": WARM_UP,
            "preprocessing_included": False,
            "frame": None if frame is None else str(frame),
            "environment": machine,
            "results": [{"what": what, **r.to_json()} for what, r in results],
        }
    )
    console.next(command("embed", bundle, "FILES...", "--engine", engine, *interface_arguments(interface)))


def row(what: str, result: Measurement) -> tuple[str, ...]:
    """One batch size: milliseconds of a call, their spread, samples per second, the bare engine and the ratio to it."""
    call = result.call
    milliseconds = (f"{ms:.3f}" for ms in (call.p50, call.p90, call.p99))
    spread, rate = f"{call.variation:.2f}", f"{call.throughput:.0f}"
    return (
        str(result.batch),
        what,
        *milliseconds,
        spread,
        rate,
        f"{result.bare.p50:.3f}",
        f"{result.ratio:.3f}",
        f"{result.low:.3f} to {result.high:.3f}",
        str(result.iterations),
    )


def parse_batches(text: str) -> list[int]:
    """Read `1,8` as batch sizes.

    Raises:
        ConfigError: not a list of positive whole numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) > 0 for part in parts):
        raise ConfigError(f"`--batch` is `{text}`; expected positive whole numbers like `1,8`")
    return [int(part) for part in parts]
