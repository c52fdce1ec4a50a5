"""`advcal-edge embed`: files to embeddings and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.decoders import keep_decoders_quiet
from advcal_edge.cli.matches import header, rows, rule_line
from advcal_edge.cli.options import (
    AllowPlanCode,
    AssumeUnits,
    BundlePath,
    Every,
    Json,
    Layout,
    Output,
    PublicKeyFile,
    Rate,
    Scale,
    Seconds,
    TopicName,
    bridged_line,
    interface_arguments,
)
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from advcal_edge.runtime import Embedder, Match
    from advcal_edge.runtime.sensors import Frame

FILES_AT_ONCE, BYTES_AT_ONCE = 64, 256 * 2**20  # limits the raw frames in memory, for any number of files


def embed(
    bundle: BundlePath,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES...", help="Frames or recordings of the bundle's sensor, a bag, or `-`."),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera", metavar="SOURCE", help="Embed a stream: number of a device, URL like rtsp://, or film."
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Of a camera: frames as it sends them, for thermal or depth of 16 bits.")
    ] = False,
    every_frame: Annotated[
        bool | None,
        typer.Option(
            "--every-frame/--newest",
            help="Of a stream: every frame, which slows the source down, or the newest; default: the newest of a"
            " camera, every frame of a film or of `-`.",
        ),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option("--deadline", help="Of a stream: seconds after which a frame is dropped.")
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="Of a stream: print the embeddings too.")] = False,
    topic: TopicName = None,
    every: Every = None,
    seconds: Seconds = None,
    rate: Rate = None,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, a precision like int8, or a path; auto prefers verified engines.")
    ] = "auto",
    require_verified: Annotated[
        bool, typer.Option("--require-verified", help="Refuse an engine without a passing report for its bytes.")
    ] = False,
    public_key: PublicKeyFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write z (n, d), paths and labels to this .npz file.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Number of labels to show per file.")] = 3,
    output: Output = None,
    layout: Layout = None,
    scale: Scale = 1.0,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Embed the files that can be read, list the others, and exit with 1.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the sensor, like `input.depth_scale=tum`."),
    ] = None,
    assume_units: AssumeUnits = False,
    allow_plan_code: AllowPlanCode = False,
    json_output: Json = False,
) -> None:
    """Embed files, or a stream, and show their best labels; the score is a softmax over the bundle's labels.

    A stream is a camera, or `-`: .npy arrays, PNG and JPEG pictures one behind the other on the standard input. It
    prints a line of JSON a frame. Settings hold for these files alone; those of the bundle stay as they are.
    """
    import numpy as np

    from advcal_edge.cli.embed_stream import Streaming, embed_stream
    from advcal_edge.cli.embed_topic import Reading, embed_topic, reading_options
    from advcal_edge.cli.sensor_settings import read_sensor_settings
    from advcal_edge.report.table import table
    from advcal_edge.runtime import Embedder
    from advcal_edge.runtime.bags import looks_like_bag
    from advcal_edge.runtime.interface import Interface
    from advcal_edge.storage import write_atomic

    keep_decoders_quiet()
    console, interface = Console(json_output=json_output), Interface(output, layout, scale)
    if public_key is not None and not require_verified:
        raise ConfigError("`--public-key` alone demands nothing", hint="`--require-verified --public-key KEY.pub.pem`")
    files = files or []
    streaming = Streaming(camera, raw, every_frame, deadline, vectors)
    streams = streaming.wanted(files)
    if streams:
        refuse_with_stream({"--topic": topic, "--out": out, "--every": every, "--seconds": seconds})
    declared = read_sensor_settings(settings or [], assume_units=assume_units)
    embedder = Embedder.load(
        bundle,
        engine,
        require_verified if public_key is None else "signed",
        public_key=public_key,
        allow_plan_code=allow_plan_code,
        interface=interface,
    ).with_settings(declared)
    console.say(
        f"embed  {'a stream' if streams else f'{len(files)} file' + 's' * (len(files) > 1)}  {embedder.modality.name}"
        f"  {embedder.precision} on {embedder.fingerprint}"
        f"  {'verified' if embedder.verified else 'not verified'}{' and signed' if public_key is not None else ''}"
    )
    for line in bridged_line(embedder.runner):
        console.say(line)
    for line in rule_line(embedder):
        console.say(line)
    if declared:
        console.say(f"for these files: {', '.join(f'input.{name}={value}' for name, value in declared.items())}")
    if streams:
        embed_stream(embedder, streaming, console, top, rate)
        return
    if topic is not None or any(map(looks_like_bag, files)):
        reading = Reading(topic, every, seconds, rate, skip_bad=skip_bad)
        embed_topic(embedder, files, reading, console, top, out)
        if not embedder.verified:
            console.next(command("verify", bundle, "--engine", embedder.runner.path, *interface_arguments(interface)))
        return
    reading_options(every=every, seconds=seconds, rate=rate)
    good: list[Path] = []
    bad: list[tuple[Path, InputError]] = []
    parts = [np.empty((0, embedder.centers.dim), np.float32)]
    for read, z, failures in embed_files(files, embedder):
        good += read
        parts.append(z)
        bad += failures
        if bad and not skip_bad:
            break
        console.progress("embed", len(good) + len(bad), len(files))
    z = np.concatenate(parts)
    matches = embedder.match(z, top)
    whole = skip_bad or not bad
    if out is not None and good and whole:
        write_atomic(out, archive(z, good, embedder.labels, matches))
    if good:
        console.result(table(header("file", embedder), list(rows(good, matches))))
    if not whole:  # what was embedded before is shown; neither a document nor a file is made of a part
        raise bad[0][1]
    console.document(
        {
            "engine": {"fingerprint": embedder.fingerprint, "sha256": embedder.runner.sha256},
            "verified": embedder.verified,
            "abstention": None if embedder.rule is None else embedder.rule.to_json(),
            "settings": declared,
            "results": [
                {"file": str(file), "matches": [match.to_json() for match in best]}
                for file, best in zip(good, matches, strict=True)
            ],
            "skipped": [{"file": str(file), "error": why.message, "hint": why.hint} for file, why in bad],
            "out": None if out is None or not good else str(out),
        }
    )
    if out is not None and good:
        console.say(f"wrote {out}: z {z.shape}, paths, labels")
    for file, why in bad:
        console.say(f"skipped {file}: {why.message}")
        console.say(f"  hint: {why.hint}")
    if bad:
        console.say(f"skipped {len(bad)} of {len(files)} files")
        raise typer.Exit(1)
    if not embedder.verified:
        given = interface_arguments(interface)
        console.next(command("verify", bundle, "--engine", embedder.runner.path, *given))


def refuse_with_stream(given: Mapping[str, object]) -> None:
    """Refuse what a stream does not have.

    Raises:
        ConfigError: one of them was given.
    """
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"`{name}` was given with a stream; expected files or a bag with it", hint="leave it out")


Embedded: TypeAlias = "tuple[list[Path], NDArray[np.float32], list[tuple[Path, InputError]]]"
"""Files of a batch, their embeddings (n, d), and those that cannot be embedded, with the reason."""


def embed_files(files: Sequence[Path], embedder: Embedder) -> Iterator[Embedded]:
    """Read and embed files in their order, as many at a time as fit into memory.

    Raises:
        EngineError: the engine fails.
        DependencyError: the library that reads its format is not installed.
    """
    from advcal_edge.runtime.sensors import Recording, read_frame

    batch: list[tuple[Path, Frame]] = []
    held = 0
    for index, file in enumerate(files, 1):
        bad: list[tuple[Path, InputError]] = []
        try:
            frame = read_frame(file, embedder.modality)
        except InputError as error:
            bad.append((file, error))
        else:
            batch.append((file, frame))
            held += frame.values.nbytes if isinstance(frame, Recording) else frame.nbytes
        if bad or len(batch) == FILES_AT_ONCE or held > BYTES_AT_ONCE or index == len(files):
            good, z, failures = embed_batch(batch, embedder)
            yield good, z, failures + bad
            batch, held = [], 0


def embed_batch(batch: Sequence[tuple[Path, Frame]], embedder: Embedder) -> Embedded:
    """Embed frames together; one by one if a frame is refused, to find which."""
    import numpy as np

    try:
        return [file for file, _ in batch], embedder.embed_frames([frame for _, frame in batch]), []
    except InputError as error:
        if len(batch) == 1:
            return [], np.empty((0, embedder.centers.dim), np.float32), [(batch[0][0], error)]
    good, z, bad = zip(*(embed_batch([one], embedder) for one in batch), strict=True)
    return list(chain(*good)), np.concatenate(z), list(chain(*bad))


def archive(z: NDArray[np.float32], files: list[Path], labels: tuple[str, ...], matches: list[list[Match]]) -> bytes:
    """An npz without pickle: z (n, d), and per row its file and its best label."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    best = np.array([row[0].label for row in matches], dtype=np.str_)
    np.savez(buffer, z=z, paths=np.array([str(file) for file in files], dtype=np.str_), labels=best)
    return buffer.getvalue()
