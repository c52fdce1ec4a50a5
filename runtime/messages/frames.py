"""Messages of one topic to the frames of one sensor, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.messages.cloud import read_cloud
from advcal_edge.runtime.messages.compressed import read_compressed
from advcal_edge.runtime.messages.events import read_events
from advcal_edge.runtime.messages.fields import NANOSECONDS, Message, seconds_text, stamp_of
from advcal_edge.runtime.messages.image import read_image
from advcal_edge.runtime.messages.kinds import CLOUD, IMAGE, check_kind, kind_of
from advcal_edge.runtime.messages.motion import make_recording, read_motion_sample
from advcal_edge.runtime.messages.sound import SAY, SoundFormat, make_sound, read_sound_chunk
from advcal_edge.runtime.messages.units import depth_as_declared
from advcal_edge.runtime.messages.windows import Window, Windows
from advcal_edge.runtime.sensors.files.prophesee_words import Decoder
from advcal_edge.runtime.sensors.frame import Array, Frame, Recording, fit
from advcal_edge.runtime.sensors.sensor import choose_sensor
from advcal_edge.spec import Modality

DEPTHS = ("depth", "range")
SILENT = SoundFormat(0.0)
"""Of sensors without sound."""


@dataclass(frozen=True, slots=True, eq=False)
class StampedFrame:
    """A frame and its time: the stamp of its message, or when that was received if it has none; of a window the first.

    Nanoseconds.
    """

    stamp: int
    frame: Frame


def message_frame(message: Message, modality: Modality, kind: str | None = None) -> Frame:
    """The frame in one message of a sensor of still frames, checked, ready for `Embedder.embed_frames`.

    `kind` is the type of the message, like `sensor_msgs/msg/Image`, where its object does not tell it.

    Raises:
        InputError: a type that this sensor does not take, or a message that is broken or holds no such frame.
        ConfigError: a sensor of recordings, which takes many messages: `FrameReader`.
    """
    reader = FrameReader(modality, kind_of(message) if kind is None else kind)
    if reader.window is not None:
        raise ConfigError(
            f"a frame of {modality.name} is a recording of many messages",
            hint="give them to a `FrameReader` one by one",
        )
    return reader.read(message)


class FrameReader:
    """Reads the messages of one topic, given one by one; recordings are windows of some seconds.

    `seconds` is the length of a window, by default of one clip; `every` the time from the start of one frame or window
    to the next, by default every frame, or windows that touch. `sound` describes samples whose messages do not. With
    `stored` frames stay as the messages store them, to be written to files: no unit is turned into another one.

    Raises:
        InputError: a type of messages that this sensor does not take.
        ConfigError: times that cannot be, or sound that nothing describes.
    """

    def __init__(
        self,
        modality: Modality,
        kind: str,
        *,
        every: float | None = None,
        seconds: float | None = None,
        sound: SoundFormat | None = None,
        stored: bool = False,
    ) -> None:
        if every is not None and not 0 < every <= 86400:
            raise ConfigError(f"a frame every {every:g} s; expected more than 0 and at most a day")
        self.modality, self.kind, self.stored = modality, check_kind(kind, modality), stored
        if modality.preprocess == "audio" and sound is None:
            raise ConfigError(f"nothing says the rate of the sound in `{kind}`", hint=SAY)
        self._sound = sound or SILENT
        self._due: int | None = None
        self._every = 0 if every is None else max(1, round(every * NANOSECONDS))
        self._words = Decoder()
        self._sensor = choose_sensor(modality)
        self.window = self._window_seconds(seconds)
        self._windows: Windows[Any] | None = None
        if self.window is not None:
            self._windows = Windows(self.window, every, LIMITS[modality.preprocess])

    def add(self, message: Message, received: int) -> StampedFrame | None:
        """The frame that this message completes, if it does; `received` is when it came, in nanoseconds.

        Raises:
            InputError: the message is broken, or the window that it ends; the next ones can be read all the same.
        """
        at = stamp_of(message)
        at = received if at is None else at
        if self._windows is None:
            due, every = self._due, self._every
            if due is not None and due - every <= at < due:  # before that: time went back, which starts anew
                if self.modality.preprocess == "event":
                    self._decode(message)  # the next packet continues this one
                return None
            frame = self.read(message)
            if every:
                self._due = (due if due is not None and due <= at < due + every else at) + every
            return StampedFrame(at, frame)
        part, size = self._read_part(message)
        return self._finish(self._windows.add(at, part, size))

    def rest(self) -> StampedFrame | None:
        """The window that the stream was too short to fill, if none was filled.

        Raises:
            InputError: it is broken.
        """
        return None if self._windows is None else self._finish(self._windows.rest())

    def read(self, message: Message) -> Frame:
        """The frame in one message, checked.

        Raises:
            InputError: it is broken, or holds no frame of this sensor.
        """
        frame = self._decode(message)
        return self._checked(frame, f"the message `{self.kind}`{_encoding(message)}")

    def _decode(self, message: Message) -> Array:
        if self.kind == CLOUD:
            return read_cloud(message)
        if self.modality.preprocess == "event":
            return read_events(message, self.kind, self._words)
        frame = read_image(message) if self.kind == IMAGE else read_compressed(message)
        if self.modality.preprocess in DEPTHS and not self.stored and frame.ndim == 2:
            return depth_as_declared(frame, self.modality)
        return frame

    def _read_part(self, message: Message) -> tuple[Any, int]:
        """What a message adds to a window, and how much that is of what is limited."""
        name = self.modality.preprocess
        if name == "imu":
            return read_motion_sample(message), 1
        if name == "audio":
            chunk = read_sound_chunk(message, self.kind, self._sound)
            return chunk, chunk.size
        if name == "event":
            events = read_events(message, self.kind, self._words)
            return events, len(events)
        picture = _film_frame(self._decode(message), _encoding(message))
        if not self.stored:  # a window of whole pictures would be large
            picture = fit(picture, *self.modality.input.shape[2:])
        return picture, picture.nbytes

    def _finish(self, window: Window[Any] | None) -> StampedFrame | None:
        if window is None:
            return None
        start = int(window.stamps[0])
        frame = self._join(window)
        where = f"the window of `{self.kind}` from {seconds_text(start)} s on"
        return StampedFrame(start, self._checked(frame, where))

    def _join(self, window: Window[Any]) -> Frame:
        name = self.modality.preprocess
        if name == "imu":
            return make_recording(window)
        if name == "audio":
            return make_sound(window, self._sound)
        if name == "event":
            return np.concatenate(window.items)
        return _make_film(window)

    def _checked(self, frame: Frame, where: str) -> Frame:
        if not self.stored:
            return self._sensor.check(frame, where, self.modality)
        as_stored = {"assume_units": "yes"}
        if isinstance(frame, np.ndarray) and self.modality.preprocess in DEPTHS:
            as_stored["depth_scale"] = "mm" if frame.dtype.kind == "u" else "m"
        known = {name: value for name, value in as_stored.items() if name in self.modality.settings}
        self._sensor.check(frame, where, self.modality.with_settings(known))
        return frame

    def _window_seconds(self, seconds: float | None) -> float | None:
        """Length of a window; None for a sensor whose frame is one message."""
        name = self.modality.preprocess
        if seconds is not None and name not in CLIPS and name != "event":
            raise ConfigError(
                f"a window of {seconds:g} s of {self.modality.name}; a frame of it is one message",
                hint="`--every` says how many of them to take",
            )
        if seconds is not None or name not in CLIPS:
            return seconds
        if not (clip := CLIPS[name](self.modality)) > 0:
            raise ConfigError("a clip is a whole recording, which a topic does not end", hint="say it: `--seconds 10`")
        return clip


CLIPS: dict[str, Callable[[Modality], float]] = {
    "imu": lambda modality: modality.input.shape[1] / modality.number("rate"),
    "audio": lambda modality: modality.number("seconds", 0.0),
    "video": lambda modality: modality.number("seconds", 0.0),
}
"""Seconds of a clip of each sensor of recordings."""

LIMITS = {
    "imu": limits.MOTION_SAMPLES,
    "audio": limits.SOUND_SAMPLES,
    "video": limits.SENSOR_BYTES,
    "event": limits.EVENTS,
}
"""What a window may hold."""


def _encoding(message: Message) -> str:
    name = getattr(message, "encoding", getattr(message, "format", None))
    return f", `{name[:60]}`," if isinstance(name, str) else ""


def _film_frame(frame: Array, encoding: str) -> Array:
    """A picture as uint8 RGB (h, w, 3)."""
    if frame.dtype != np.uint8:
        raise InputError(
            f"the message{encoding} holds {frame.dtype}; expected a picture of eight bits for a film",
            hint="name the topic of the colour image",
        )
    return np.ascontiguousarray(np.broadcast_to(frame.reshape(*frame.shape[:2], -1)[:, :, :3], (*frame.shape[:2], 3)))


def _make_film(window: Window[Array]) -> Recording:
    """Pictures at even times (t, h, w, 3): at each the one whose stamp is nearest."""
    window.check_gaps()
    sizes = {picture.shape for picture in window.items}
    if len(sizes) > 1:
        raise InputError(
            f"pictures of {len(sizes)} sizes from {seconds_text(int(window.stamps[0]))} s on; expected one",
            hint="`--skip-bad` leaves this window out",
        )
    times = (window.stamps - window.stamps[0]) / NANOSECONDS
    grid = np.linspace(0, times[-1], len(times))
    nearest = np.abs(times[None] - grid[:, None]).argmin(axis=1)
    return Recording(np.stack([window.items[index] for index in nearest.tolist()]), (len(times) - 1) / float(times[-1]))
