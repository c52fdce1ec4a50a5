"""Sound in messages: audio_common_msgs/AudioData and AudioDataStamped, and numbers in std_msgs MultiArrays.

The bytes of AudioData are described by AudioInfo, which audio_common publishes once beside them; MultiArrays say
nothing of their rate. What no message says, the user does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import (
    NANOSECONDS,
    Message,
    read_bytes,
    read_field,
    read_numbers,
    read_text,
    read_whole,
    seconds_text,
    view_numbers,
)
from advcal_edge.runtime.messages.windows import Window
from advcal_edge.runtime.sensors.frame import Array, Recording

FORMATS = {
    "S8": "i1", "U8": "u1", "S16LE": "<i2", "S16BE": ">i2", "S32LE": "<i4", "S32BE": ">i4", "F32LE": "<f4",
    "F32BE": ">f4", "F64LE": "<f8", "F64BE": ">f8",
}  # fmt: skip
"""Names of GStreamer, which AudioInfo.sample_format holds."""

ARRAYS = {"Int8": "i1", "UInt8": "u1", "Int16": "<i2", "Int32": "<i4", "Float32": "<f4", "Float64": "<f8"}
"""std_msgs MultiArrays by their first word."""

SAY = "say it: `--rate 16000`"

MP3 = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa")
CODED = {b"OggS": "Ogg", b"fLaC": "FLAC", b"RIFF": "WAV with its header"}

JITTER = 0.25
"""Seconds by which stamps may stray from the count of samples, and a tenth of a window more."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """What the numbers of a stream of sound are: AudioInfo, or what the user says."""

    rate: float
    channels: int = 1
    sample: str = "S16LE"

    @classmethod
    def of(cls, info: Message) -> SoundFormat:
        """From audio_common_msgs/AudioInfo.

        Raises:
            InputError: compressed sound, or an unknown format of samples.
        """
        coding, sample = read_text(info, "coding_format").lower(), read_text(info, "sample_format").upper()
        if coding not in ("wave", "raw", "pcm", ""):
            raise InputError(
                f"the sound is coded as `{coding}`; expected `wave`, which is not compressed",
                hint="start audio_capture with `format:=wave`",
            )
        if sample not in FORMATS:
            raise InputError(
                f"the sound has samples `{sample}`; expected one of {', '.join(FORMATS)}",
                hint="start audio_capture with `sample_format:=S16LE`",
            )
        channels, rate = read_whole(info, "channels"), read_whole(info, "sample_rate")
        if not channels or not rate:
            raise InputError(f"the sound has {channels} channels at {rate} Hz; expected at least 1 of each", hint=SAY)
        return cls(float(rate), channels, sample)


def read_sound_chunk(message: Message, kind: str, form: SoundFormat) -> Array:
    """The samples (channels, t) in a message: int16, or float32 with full scale at 1.

    Raises:
        InputError: compressed sound, or bytes that are no whole samples.
    """
    if kind.endswith("MultiArray"):
        values = read_numbers(message, ARRAYS[kind.rsplit("/", 1)[-1].removesuffix("MultiArray")])
        channels = _channels(message) or form.channels
    else:
        inner = read_field(message, "audio") if kind.endswith("AudioDataStamped") else message
        raw = read_bytes(inner)
        head = raw[:4].tobytes()
        coded = "MP3" if head.startswith(MP3) else CODED.get(head)
        if coded:
            raise InputError(
                f"the message holds {coded}; expected samples", hint="start audio_capture with `format:=wave`"
            )
        values, channels = view_numbers(raw, FORMATS[form.sample]), form.channels
    if values.size % channels:
        raise InputError(
            f"the message holds {values.size} samples of {channels} channels; expected whole ones", hint=SAY
        )
    return _scaled(values).reshape(-1, channels).T


def make_sound(window: Window[Array], form: SoundFormat) -> Recording:
    """The chunks of a window one after the other, (t,) or (channels, t).

    Raises:
        InputError: their samples last shorter or longer than their stamps say.
    """
    chunks, start = window.items, int(window.stamps[0])
    if len({(len(chunk), chunk.dtype) for chunk in chunks}) > 1:
        raise InputError(
            f"the sound changes its channels or type after {seconds_text(start)} s",
            hint="`--skip-bad` leaves this window out",
        )
    timed = chunks[:-1] if window.end is None else chunks  # when the last one ends, only the next one says
    passed = ((window.stamps[-1] if window.end is None else window.end) - start) / NANOSECONDS
    held = sum(chunk.shape[1] for chunk in timed) / form.rate
    if abs(passed - held) > JITTER + 0.1 * passed:
        raise InputError(
            f"{held:.3f} s of sound in {passed:.3f} s from {seconds_text(start)} s on; expected as much as time passed",
            hint="messages were lost (`--skip-bad` leaves this window out), or the rate or the channels are others",
        )
    values = np.concatenate(chunks, axis=1)
    return Recording(values[0] if len(values) == 1 else values, form.rate)


def _channels(message: Message) -> int:
    """The size of the dimension that a MultiArray calls `channels`; 0 if none."""
    dimensions = getattr(getattr(message, "layout", None), "dim", None) or []
    return next((read_whole(one, "size") for one in dimensions if read_text(one, "label") == "channels"), 0)


def _scaled(values: Array) -> Array:
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.itemsize == 2:
        return values.astype(np.int16)
    half = 2.0 ** (8 * values.dtype.itemsize - 1)
    return ((values.astype(np.float64) - (half if values.dtype.kind == "u" else 0)) / half).astype(np.float32)
