"""A stream of frames to a stream of results: one thread reads the source, the reader of the results runs the engine.

The engine runs when the next result is asked for, on the frame that is the newest at that time. So a reader that is
slow gets fewer results, never old ones, and nothing waits in a second queue.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import AdvcalError, ConfigError, EngineError, InputError
from advcal_edge.runtime.messages.frames import StampedFrame
from advcal_edge.runtime.sources import is_live, open_source, stop_source
from advcal_edge.runtime.stream_statistics import Latencies, Statistics

if TYPE_CHECKING:
    from advcal_edge.runtime.embedder import Embedder
    from advcal_edge.runtime.matching import Match
    from advcal_edge.runtime.sensors import Frame
    from advcal_edge.runtime.sources import Source

PATIENCE = 5.0
"""Seconds that closing waits for a source that is busy reading."""


@dataclass(frozen=True, slots=True, eq=False)
class StreamResult:
    """What became of one frame: an embedding z (d,) and its best labels, or an error."""

    number: int
    """Place of the frame in the source, from 0; the numbers of dropped frames are missing."""
    stamp: int
    """Nanoseconds: the stamp of a `StampedFrame`, else the time of day at which the frame arrived."""
    z: NDArray[np.float32] | None
    matches: list[Match]
    error: AdvcalError | None
    latency: float
    """Seconds from the arrival of the frame to this result."""

    def to_json(self, *, vector: bool = False) -> dict[str, Any]:
        """Plain types; the embedding only with `vector`."""
        told: dict[str, Any] = {"frame": self.number, "stamp": self.stamp, "latency": self.latency}
        if self.error is not None:
            return {**told, "error": self.error.message, "hint": self.error.hint}
        told["matches"] = [match.to_json() for match in self.matches]
        if vector and self.z is not None:
            told["z"] = self.z.tolist()
        return told


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived:
    """A frame as it came from the source."""

    number: int
    stamp: int
    at: float
    frame: Frame | InputError


class Stream:
    """Results of the frames of a source: a context manager to iterate over. Made by `Embedder.stream`."""

    def __init__(
        self,
        embedder: Embedder,
        source: Source,
        *,
        latest: bool | None = None,
        deadline: float | None = None,
        top: int = 3,
        ahead: int = 4,
    ) -> None:
        """Check the options; `__enter__` starts to read.

        Raises:
            ConfigError: a deadline, a number of labels or of frames ahead that cannot be, or a source that is none.
        """
        if deadline is not None and not 0 < deadline < math.inf:
            raise ConfigError(f"`deadline` is {deadline:g}; expected a positive number of seconds")
        if top < 1 or ahead < 1:
            raise ConfigError(f"`top` is {top} and `ahead` is {ahead}; expected at least 1 of each")
        self._closing = threading.Event()
        self._embedder, self._source, self._items = embedder, source, open_source(source, self._closing)
        self._latest = is_live(source) if latest is None else latest
        self._deadline, self._top = deadline, top
        self._ahead = 1 if self._latest else ahead
        self._waiting: deque[_Arrived] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._frames = self._results = self._errors = self._replaced = self._late = 0
        self._latencies = Latencies()
        self._opened, self._closed = 0.0, math.inf

    def __enter__(self) -> Stream:
        """Start to read the source.

        Raises:
            ConfigError: it was opened before.
        """
        if self._thread is not None:
            raise ConfigError("this stream was opened before", hint="`embedder.stream(source)` makes another one")
        self._opened = time.monotonic()
        atexit.register(self.close)  # whose wait a second Ctrl-C ends: a thread inside OpenCV would abort the process
        self._thread = threading.Thread(target=self._read_source, name="stream", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Stop, and raise what the source raised, if the reader has not seen it and raised nothing itself."""
        self.close()
        if error is None and self._failure is not None:
            self._raise_failure()
        return False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> StreamResult:
        """Wait for a frame and embed it.

        Raises:
            ConfigError: the stream was not opened.
            EngineError: the engine fails on this frame and on every other one.
            Exception: whatever the source raised, after the results of the frames before.
        """
        if self._thread is None:
            raise ConfigError("this stream was not opened", hint="`with embedder.stream(source) as results:`")
        while True:
            arrived = self._take()
            late = self._is_late(arrived)
            result = None if late else self._answer(arrived)
            if result is not None and (result.error is not None or not self._is_late(arrived)):
                self._count(result)
                return result
            with self._changed:
                self._late += 1

    def close(self) -> None:
        """Stop reading; a source that is busy for more than `PATIENCE` seconds ends with the process."""
        with self._changed:
            self._closing.set()
            self._closed = min(self._closed, time.monotonic())
            self._changed.notify_all()
        stop_source(self._source)
        if self._thread is not None:
            with self._changed:  # not `join`: interrupted once, it takes the thread for ended (bpo-45274)
                self._changed.wait_for(lambda: self._ended, PATIENCE)
            atexit.unregister(self.close)

    @property
    def latest(self) -> bool:
        """Is only the newest frame embedded?"""
        return self._latest

    @property
    def stopped(self) -> bool:
        """Has the thread that reads the source left it?"""
        return self._thread is None or self._ended

    @property
    def statistics(self) -> Statistics:
        """Counts and percentiles so far; from any thread, also after the end."""
        with self._changed:
            p50, p95, p99 = (self._latencies.percentile(percent) for percent in (50, 95, 99))
            seconds = min(time.monotonic(), self._closed) - self._opened if self._opened else 0.0
            counts = self._frames, self._results, self._errors, self._replaced, self._late
            return Statistics(*counts, seconds, p50, p95, p99, self._latencies.largest)

    def _read_source(self) -> None:
        """What the thread does."""
        try:
            try:
                for item in self._items:
                    if not self._put(item):
                        break
            finally:
                self._items.close()  # releases a camera, in the thread that reads it
        except BaseException as error:
            self._failure = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, item: Frame | StampedFrame | InputError) -> bool:
        """Let a frame wait for the engine; False once the stream is closed."""
        at, stamp = time.monotonic(), time.time_ns()
        if isinstance(item, StampedFrame):
            stamp, item = item.stamp, item.frame
        with self._changed:
            if self._latest and self._waiting:
                self._waiting.popleft()
                self._replaced += 1
            while len(self._waiting) >= self._ahead and not self._closing.is_set():
                self._changed.wait()
            if self._closing.is_set():
                return False
            self._waiting.append(_Arrived(self._frames, stamp, at, item))
            self._frames += 1
            self._changed.notify_all()
        return True

    def _take(self) -> _Arrived:
        """The next frame; raises StopIteration at the end, and what the source raised."""
        with self._changed:
            while not (self._waiting or self._ended or self._closing.is_set()):
                self._changed.wait()
            if self._waiting and not self._closing.is_set():
                arrived = self._waiting.popleft()
                self._changed.notify_all()
                return arrived
        if self._failure is not None and not self._closing.is_set():
            self._raise_failure()
        raise StopIteration

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _is_late(self, arrived: _Arrived) -> bool:
        return self._deadline is not None and time.monotonic() - arrived.at > self._deadline

    def _answer(self, arrived: _Arrived) -> StreamResult:
        """Embed one frame.

        Raises:
            EngineError: the engine fails on this frame and on a plain grey one.
        """
        z: NDArray[np.float32] | None = None
        matches: list[Match] = []
        error: AdvcalError | None = None
        if isinstance(arrived.frame, InputError):
            error = arrived.frame
        else:
            try:
                (z,) = self._embedder.embed_frames([arrived.frame], first=arrived.number)
                (matches,) = self._embedder.match(z[None], self._top)
            except InputError as refused:
                error = refused
            except EngineError as failed:
                self._embedder.try_out()  # if it fails on this too, later frames cannot succeed
                error = failed
        latency = time.monotonic() - arrived.at
        return StreamResult(arrived.number, arrived.stamp, z, matches, error, latency)

    def _count(self, result: StreamResult) -> None:
        with self._changed:
            if result.error is None:
                self._results += 1
                self._latencies.add(result.latency)
            else:
                self._errors += 1
