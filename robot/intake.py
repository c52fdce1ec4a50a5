"""What becomes of a message: an answer, part of a window, or nothing because it is stale or broken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import AdvcalError, EngineError, InputError, first_line
from advcal_edge.robot.counts import Counts, Durations
from advcal_edge.robot.settings import NodeSettings
from advcal_edge.runtime import Embedder, Match
from advcal_edge.runtime.messages import FrameReader, Message, StampedFrame, stamp_of
from advcal_edge.runtime.messages.fields import NANOSECONDS

AHEAD = 1.0
"""Seconds that a stamp may lie ahead of this clock before that is a fault of the clocks."""
UNSURE = "unsure"
"""Published instead of labels where no answer may be trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is published about a frame; `stamp` and `frame_id` are those of its message, of a window the first."""

    stamp: int
    """Nanoseconds; 0 if the message had none."""
    frame_id: str
    z: NDArray[np.float32]
    """(d,), unit norm."""
    matches: Sequence[Match]
    """Labels of at least `min_score`, best first; `UNSURE` alone, with the score of the best, where `sure` is false."""
    sure: bool | None
    """May the best label be trusted, by the rule of the report and by `min_score`? None without a rule."""


@dataclass(slots=True)
class Intake:
    """Takes the messages of one topic from one thread, decides what becomes of each, and counts."""

    embedder: Embedder
    reader: FrameReader
    settings: NodeSettings
    counts: Counts = field(default_factory=Counts)
    durations: Durations = field(default_factory=Durations)
    age: float | None = None
    """Seconds between the stamp of the last message and its arrival here."""
    fault: AdvcalError | None = None
    """Why the last frame that gave no answer gave none."""
    arrived: float | None = None
    """When the last message came, by `time.monotonic`."""
    _lock: Lock = field(default_factory=Lock)

    def take(self, message: Message, now: int) -> Answer | None:
        """The answer to the frame that this message completes, if there is one; `now` is in nanoseconds.

        What fails is counted and kept in `fault`: one bad frame never ends a node.
        """
        started = time.perf_counter()
        with self._lock:
            self.counts.received += 1
            self.arrived = time.monotonic()
        try:
            completed = self._read(message, now)
            if completed is None:
                return None
            z = self.embedder.embed_frames([completed.frame])
            matches = self.embedder.match(z, self.settings.top_k)[0]
        except InputError as error:
            self._count("rejected", error)
            return None
        except AdvcalError as error:
            self._count("failed", error)
            return None
        except Exception as error:  # of a library below: the node must say it, and live on
            self._count("failed", EngineError(f"{type(error).__name__}: {first_line(error)}"))
            return None
        shown = [match for match in matches if match.score >= self.settings.min_score]
        sure = matches[0].sure if shown else False
        if sure is False:
            shown = [Match(UNSURE, matches[0].score, sure)]
        with self._lock:
            self.counts.embedded += 1
            self.counts.unsure += sure is False
            self.durations.add(time.perf_counter() - started)
        frame_id = getattr(getattr(message, "header", None), "frame_id", "")
        stamp = completed.stamp if self.reader.window is not None else stamp_of(message) or 0
        return Answer(stamp, frame_id, z[0], shown, sure)

    def miss(self, total: int) -> None:
        """Take the number of messages that were lost on their way since the subscription began."""
        with self._lock:
            self.counts.lost = total

    def snapshot(self) -> Counts:
        """The counts of this moment, consistent with each other."""
        with self._lock:
            return self.counts.since(Counts())

    def _read(self, message: Message, now: int) -> StampedFrame | None:
        """The frame that a message completes, unless it is stale. A late part of a window still belongs to it."""
        late = self._is_late(message, now)
        completed = None if late and self.reader.window is None else self.reader.add(message, now)
        if late and (completed is not None or self.reader.window is None):
            with self._lock:
                self.counts.stale += 1
            return None
        return completed

    def _is_late(self, message: Message, now: int) -> bool:
        stamp = stamp_of(message)
        if stamp is None:
            self.age = None
            with self._lock:
                self.counts.unstamped += 1
            return False
        self.age = (now - stamp) / NANOSECONDS
        return 0 < self.settings.max_age < self.age

    def _count(self, name: str, error: AdvcalError) -> None:
        with self._lock:
            self.fault = error
            setattr(self.counts, name, getattr(self.counts, name) + 1)
