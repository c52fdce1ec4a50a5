"""Sources of frames for a stream: iterables, queues and cameras.

An item is a frame, a `StampedFrame`, or an `InputError` for a frame that could not be read.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Generator, Iterable
from types import GeneratorType
from typing import Any, Protocol, TypeAlias, runtime_checkable

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.limits import FILM_PIXELS
from advcal_edge.runtime.messages.frames import StampedFrame
from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.frame import Frame

POLL = 0.1
"""Seconds between looks at whether a queue or a pipe is to be left."""

TIMEOUT_MS = 5000
"""Of opening and of reading a camera on the network."""

MOST_MISSES = 20
MISS_SECONDS = 0.05
"""A camera that gives no frame so many times in a row is gone; and the pause after each."""

SIXTEEN_BITS = ("Y16", "Z16")
"""Formats of which OpenCV keeps the upper eight bits, unless it is told to convert nothing."""

Item: TypeAlias = Frame | StampedFrame | InputError


@runtime_checkable
class Queue(Protocol):
    """`queue.Queue`, `queue.SimpleQueue` or a queue of multiprocessing; `None` in it is the end."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item; raises `queue.Empty` after `timeout` seconds."""
        ...


Source: TypeAlias = Iterable[Item] | Queue


class Camera:
    """A camera, a stream on the network, or a film: anything that OpenCV captures, as RGB frames (h, w, 3) uint8.

    `source` is the number of a device, a URL like `rtsp://...`, a path, or a GStreamer pipeline. With `raw` frames stay
    as the device sends them, without conversion to colours of eight bits: thermal and depth cameras of 16 bits.

    A frame that cannot be read is an `InputError` among the items; after `MOST_MISSES` in a row the camera is gone.
    A film ends with its last frame.
    """

    def __init__(self, source: int | str | os.PathLike[str], *, raw: bool = False) -> None:
        self.source = source if isinstance(source, int) else os.fspath(source)
        self.raw = raw
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the iteration after the frame that is being read."""
        self._stopped.set()

    def __str__(self) -> str:
        return re.sub(r"(?<=://)[^/@\s]+@", "", str(self.source))  # no password in messages

    @property
    def live(self) -> bool:
        """Is it no file?"""
        return isinstance(self.source, int) or self.source.startswith("/dev/") or not os.path.exists(self.source)

    def __iter__(self) -> Generator[Item, None, None]:
        """Open it and read frames until it is stopped.

        Raises:
            InputError: it cannot be opened, gave no frame at all, or gives none any more.
        """
        capture = self._open()
        try:
            misses, any_frame = 0, False
            while not self._stopped.is_set():
                whole, frame = capture.read()
                if whole and frame is not None:
                    misses, any_frame = 0, True
                    FILM_PIXELS.check(frame.shape[0] * frame.shape[1], f"a frame of camera `{self}`", InputError)
                    yield frame if self.raw or frame.ndim < 3 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    continue
                if not self.live and any_frame:
                    return
                misses += 1
                if not self.live or misses > MOST_MISSES:
                    raise InputError(
                        f"`{self}` gives no frame; expected one" + (f" in {misses} reads" if self.live else ""),
                        hint="is it plugged in, and does its network answer? `ffplay` shows it"
                        if self.live
                        else "`ffprobe` tells whether it is a film; of a picture leave `--camera` out",
                    )
                yield InputError(f"`{self}` gave no frame; expected one", hint="a cable, the network or the driver")
                time.sleep(MISS_SECONDS)
        finally:
            capture.release()

    @property
    def _on_network(self) -> bool:
        return isinstance(self.source, str) and "://" in self.source

    def _open(self) -> cv2.VideoCapture:
        if self._on_network:
            times = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
            capture = cv2.VideoCapture(self.source, cv2.CAP_FFMPEG, times)
        else:
            capture = cv2.VideoCapture(self.source, cv2.CAP_ANY)
        if not capture.isOpened():
            capture.release()
            raise InputError(
                f"camera `{self}` cannot be opened; expected the number of a device, a URL or a film",
                hint=f"does `ffplay {self}` show it? Its network, port, path, user and password are what can be wrong"
                if self._on_network
                else "`ls /dev/video*` lists devices; is another program using it, and may this user read it?",
            )
        if self.raw:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        elif self.live and _four_letters(capture.get(cv2.CAP_PROP_FOURCC)) in SIXTEEN_BITS:
            capture.release()
            raise InputError(
                f"camera `{self}` sends 16 bits, of which a conversion to colours would keep eight; expected to be"
                " read as it is",
                hint="`--raw`, or `Camera(source, raw=True)`",
            )
        return capture


def _four_letters(code: float) -> str:
    """The name of a format by OpenCV's number of it."""
    return "".join(chr(int(code) >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip(" \0")


def open_source(source: Source, closing: threading.Event) -> Generator[Item, None, None]:
    """Items of a source, one by one, until `closing` is set; closing it closes a generator.

    Raises:
        ConfigError: it is no source.
    """
    if isinstance(source, (int, str, bytes, os.PathLike)):
        raise ConfigError(
            f"a stream was asked of the {type(source).__name__} `{source!r}`; expected frames",
            hint="of a camera `embedder.stream(Camera(0))`; of files `(read_frame(file, modality) for file in files)`",
        )
    if isinstance(source, Iterable):
        return _iterate(source)
    if isinstance(source, Queue):
        return _drain(source, closing)
    raise ConfigError(
        f"a stream was asked of a {type(source).__name__}; expected an iterable of frames, a queue, or a `Camera`"
    )


def is_live(source: Source) -> bool:
    """Do frames come when they come, so that the newest counts? Of films and pipes all do, and they can wait."""
    return bool(getattr(source, "live", True))


def stop_source(source: Source) -> None:
    """Tell a source that has a `stop` that it is no longer read."""
    stop = getattr(source, "stop", None)
    if callable(stop):
        stop()


def _iterate(source: Iterable[Item]) -> Generator[Item, None, None]:
    items = iter(source)
    try:
        yield from items
    finally:
        if isinstance(items, GeneratorType):
            items.close()


def _drain(source: Queue, closing: threading.Event) -> Generator[Item, None, None]:
    while not closing.is_set():
        try:
            item = source.get(timeout=POLL)
        except queue.Empty:
            continue
        if item is None:
            return
        yield item
