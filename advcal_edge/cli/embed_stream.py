"""`advcal-edge embed --camera` and `embed B -`: frames as they come to lines of JSON, one a frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from advcal_edge.cli.console import Console
from advcal_edge.errors import ConfigError

if TYPE_CHECKING:
    from advcal_edge.runtime import Embedder
    from advcal_edge.runtime.piped_frames import PipedFrames
    from advcal_edge.runtime.sources import Camera
    from advcal_edge.runtime.stream_statistics import Statistics

STANDARD_INPUT = Path("-")
FILMED = ("image", "thermal", "depth", "range")
"""Preprocessing of the sensors whose frames are pictures."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """Where frames come from, and which of them are embedded."""

    camera: str | None
    raw: bool = False
    every_frame: bool | None = None
    """None: the newest of a camera, every frame of a film or of the standard input."""
    deadline: float | None = None
    vectors: bool = False

    def wanted(self, files: Sequence[Path]) -> bool:
        """Is this a stream?

        Raises:
            ConfigError: files with a camera, options of a stream without one, or a URL among the files.
        """
        piped = STANDARD_INPUT in files
        if files and (self.camera is not None or (piped and len(files) > 1)):
            raise ConfigError("files were given with a camera or `-`; expected one source", hint="`--camera 0` alone")
        if self.camera is not None or piped:
            return True
        url = next(
            (str(file) for file in files if str(file).partition(":/")[0] in ("rtsp", "rtsps", "http", "https", "udp")),
            None,
        )
        if url is not None:
            raise ConfigError(f"`{url.partition(':/')[0]}:` is no file; expected a file", hint="`--camera URL`")
        given = {"--raw": self.raw, "--every-frame/--newest": self.every_frame is not None,
                 "--deadline": self.deadline is not None, "--vectors": self.vectors}  # fmt: skip
        used = [name for name, is_given in given.items() if is_given]
        if used:
            raise ConfigError(f"`{used[0]}` is of a stream; expected `--camera` or `-` with it", hint="`--camera 0`")
        if not files:
            raise ConfigError("nothing to embed; expected files", hint="or `--camera 0`, or `-` for the standard input")
        return False

    def open(self, embedder: Embedder, rate: float | None) -> Camera | PipedFrames:
        """The source.

        Raises:
            ConfigError: a sensor that is no camera, or options of the other kind of source.
        """
        from advcal_edge.runtime.piped_frames import PipedFrames
        from advcal_edge.runtime.sources import Camera

        modality = embedder.modality
        if self.camera is None:
            if self.raw:
                raise ConfigError("`--raw` is of a camera; expected `--camera` with it", hint="`--camera 0 --raw`")
            return PipedFrames(modality, rate=rate)
        if rate is not None:
            raise ConfigError(f"`--rate {rate:g}` is of recordings; expected none with a camera", hint="leave it out")
        if modality.preprocess not in FILMED:
            raise ConfigError(
                f"the bundle is of {modality.name}, whose frames are no pictures of a camera; expected one of image,"
                " thermal or depth",
                hint="write recordings to the standard input: `-`",
            )
        return Camera(int(self.camera) if self.camera.isdecimal() else self.camera, raw=self.raw)


def embed_stream(embedder: Embedder, streaming: Streaming, console: Console, top: int, rate: float | None) -> None:
    """Embed frames until the source ends or a signal comes, and print each result at once.

    Raises:
        InputError: the source cannot be opened, breaks, or is lost.
        ConfigError: options that do not go together.
        EngineError: the engine fails on everything.
        typer.Exit: with 1, if any frame could not be embedded.
    """
    source = streaming.open(embedder, rate)
    latest = None if streaming.every_frame is None else not streaming.every_frame
    stream = embedder.stream(source, latest=latest, deadline=streaming.deadline, top=top)
    named = "standard input" if streaming.camera is None else f"camera {source}"
    console.say(f"stream  {named}  {'the newest frame' if stream.latest else 'every frame'}")
    try:
        with stream as results:
            for result in results:
                console.record(result.to_json(vector=streaming.vectors))
    finally:
        with suppress(OSError):  # the terminal may be closed
            console.say(summary(stream.statistics))
    if stream.statistics.errors:
        raise typer.Exit(1)


def summary(found: Statistics) -> str:
    """Counts and latencies in a line."""
    counts = f"{found.frames} frames: {found.results} embedded, {found.errors} with an error"
    dropped = f"{found.replaced} replaced by a newer one, {found.late} too late"
    if found.p50 is None:
        return f"{counts}, {dropped}"
    named = {"p50": found.p50, "p95": found.p95, "p99": found.p99, "longest": found.largest}
    times = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in named.items() if seconds is not None)
    return f"{counts}, {dropped}; {found.rate:.1f} a second; ms from arrival to result: {times}"
