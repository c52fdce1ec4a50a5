"""`advcal-edge embed --topic`: the frames of a topic of a bag, with their stamps, to embeddings and labels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.matches import header, rows
from advcal_edge.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from advcal_edge.runtime import Embedder, Match
    from advcal_edge.runtime.bags import Bag, Topic, Unreadable
    from advcal_edge.runtime.messages import StampedFrame
    from advcal_edge.spec import Modality

FRAMES_AT_ONCE, BYTES_AT_ONCE = 64, 64 * 2**20  # limits the raw frames in memory, for a bag of any size
MOST_BAD = 10_000
"""Messages that may be left out: with more, it is the wrong topic or the wrong sensor."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a bag is read: which topic, how often, in windows of which length, and whether what is broken is left out."""

    topic: str | None
    every: float | None = None
    seconds: float | None = None
    rate: float | None = None
    skip_bad: bool = False

    def open(self, bag: Bag, modality: Modality, console: Console, *, stored: bool = False) -> Frames:
        """The topic, and its frames as they are read.

        Raises:
            InputError: no such topic, or one that does not suit the sensor; the message lists those of the bag.
            ConfigError: times that cannot be, or sound that nothing describes.
        """
        from advcal_edge.runtime.bags import find_topic, make_reader, read_topic

        topic = find_topic(bag, self.topic, modality)
        reader = make_reader(
            bag, topic, modality, every=self.every, seconds=self.seconds, rate=self.rate, stored=stored
        )
        found = read_topic(bag, topic, reader, lambda count: console.progress("read", count, max(topic.count, count)))
        return Frames(bag, topic, found, self.skip_bad)


@dataclass(slots=True)
class Frames:
    """The frames of a topic, and what gave none: the first of that ends them, unless it is left out."""

    bag: Bag
    topic: Topic
    found: Iterator[StampedFrame | Unreadable]
    skip_bad: bool
    bad: list[tuple[str, InputError]] = field(default_factory=list)
    """Stamps in seconds with the reasons."""

    def __iter__(self) -> Iterator[StampedFrame]:
        from advcal_edge.runtime.messages import StampedFrame, seconds_text

        try:
            for one in self.found:
                if isinstance(one, StampedFrame):
                    yield one
                    continue
                stamp = seconds_text(one.stamp)
                error = InputError(f"`{self.topic.name}` at {stamp} s: {one.error.message}", hint=one.error.hint)
                self.bad.append((stamp, error))
                if len(self.bad) > MOST_BAD:
                    first = self.bad[0][1]
                    why = InputError(f"more than {MOST_BAD:,} cannot be read; first: {first.message}", hint=first.hint)
                    self.bad[0], self.skip_bad = (stamp, why), False
                if not self.skip_bad:
                    return
        except InputError as error:  # the bag itself ends here
            self.bad.append(("the rest of the bag", error))

    @property
    def whole(self) -> bool:
        """May what was read be used?"""
        return self.skip_bad or not self.bad

    def finish(self, count: int, console: Console) -> None:
        """Say what was left out.

        Raises:
            InputError: the first that gave no frame, unless it may be left out; or there was no frame at all.
            typer.Exit: with 1, if any was left out.
        """
        if not self.whole:
            raise self.bad[0][1]
        for stamp, why in self.bad:
            console.say(f"skipped {stamp}: {why.message}")
            console.say(f"  hint: {why.hint}")
        if self.bad:
            console.say(f"skipped {len(self.bad)}, read {count}")
            raise typer.Exit(1)
        if not count:
            raise InputError(
                f"`{self.bag.path}` gave no frame of `{self.topic.name}`; expected at least one",
                hint="shorter windows: `--seconds`",
            )


def reading_options(**given: float | None) -> None:
    """Refuse what only a bag has.

    Raises:
        ConfigError: one of them was given.
    """
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"`--{name} {value:g}` is of a bag; expected `--topic` with it", hint="`--topic /camera`")


def only_bag(files: Sequence[Path]) -> Path:
    """The one bag among the arguments.

    Raises:
        ConfigError: several files.
    """
    if len(files) != 1:
        raise ConfigError(f"{len(files)} files with one topic; expected one bag", hint="run the command for each bag")
    return files[0]


def embed_topic(
    embedder: Embedder, files: Sequence[Path], reading: Reading, console: Console, top: int, out: Path | None
) -> None:
    """Embed the frames of a topic and show their best labels.

    Raises:
        InputError: the bag or a frame cannot be read; what was embedded before is shown.
        ConfigError: several bags, or times that cannot be.
        typer.Exit: with 1, if anything was left out.
    """
    from advcal_edge.report.table import table
    from advcal_edge.runtime.bags import open_bag
    from advcal_edge.runtime.messages import seconds_text
    from advcal_edge.storage import write_atomic

    path = only_bag(files)
    stamps: list[int] = []
    matches: list[list[Match]] = []
    kept: list[NDArray[np.float32]] = []
    with open_bag(path) as bag:
        frames = reading.open(bag, embedder.modality, console)
        console.say(f"topic  {frames.topic}")
        for batch in batches(frames):
            z = embedder.embed_frames([one.frame for one in batch])
            stamps += [one.stamp for one in batch]
            matches += embedder.match(z, top)
            if out is not None:
                kept.append(z)
    seconds = [seconds_text(stamp) for stamp in stamps]
    if stamps:
        console.result(table(header("stamp", embedder), list(rows(seconds, matches))))
    written = out if stamps and frames.whole else None
    if written is not None:
        write_atomic(written, archive(kept, stamps, path, [best[0].label for best in matches]))
    if frames.whole and (stamps or frames.bad):
        console.document(
            {
                "engine": {"fingerprint": embedder.fingerprint, "sha256": embedder.runner.sha256},
                "verified": embedder.verified,
                "abstention": None if embedder.rule is None else embedder.rule.to_json(),
                "file": str(path),
                "topic": {"name": frames.topic.name, "type": frames.topic.kind, "messages": frames.topic.count},
                "results": [
                    {"stamp": stamp, "matches": [match.to_json() for match in best]}
                    for stamp, best in zip(seconds, matches, strict=True)
                ],
                "skipped": [{"stamp": stamp, "error": why.message, "hint": why.hint} for stamp, why in frames.bad],
                "out": None if written is None else str(written),
            }
        )
    if written is not None:
        console.say(f"wrote {written}: z ({len(stamps)}, {embedder.centers.dim}), stamps, paths, labels")
    frames.finish(len(stamps), console)


def batches(frames: Frames) -> Iterator[list[StampedFrame]]:
    """As many frames at a time as fit into memory."""
    from advcal_edge.runtime.sensors import Recording

    batch: list[StampedFrame] = []
    held = 0
    for one in frames:
        batch.append(one)
        held += one.frame.values.nbytes if isinstance(one.frame, Recording) else one.frame.nbytes
        if len(batch) == FRAMES_AT_ONCE or held > BYTES_AT_ONCE:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def archive(kept: Sequence[NDArray[np.float32]], stamps: Sequence[int], path: Path, labels: Sequence[str]) -> bytes:
    """An npz without pickle: z (n, d), and per row the stamp in nanoseconds, the bag and the best label."""
    import numpy as np

    buffer = io.BytesIO()
    paths = np.array([str(path)] * len(stamps), dtype=np.str_)
    best = np.array(labels, dtype=np.str_)
    np.savez(buffer, z=np.concatenate(kept), stamps=np.array(stamps, np.int64), paths=paths, labels=best)
    return buffer.getvalue()
