"""Sound to log-mel spectrograms.

The natural logarithm of mel energy in [-16, 12], 16 bits: silence is at -15.94, and the loudest sound at full scale
stays below 12. One unit is 4.34 dB; eps 4/255 is 0.44: the energy in a cell changes by at most 1.9 dB.

Clips, spectrogram and padding follow ImageBind's loader: recordings at another rate are resampled, and clips of
`seconds` are spread from start to end. A spectrogram longer than the encoder's is cut at its end; a shorter one is
filled with 0.0 (an energy of 1, not silence; upstream's choice, used in the encoders' training), or with `repeat` 1
repeated, as in LanguageBind. Differences: channels are averaged, while upstream takes the first, and a single clip is
taken from the middle.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.files.sound_file import read_sound
from advcal_edge.runtime.sensors.frame import Array, Frame, Recording, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.resample import clip_starts, resample, resampled_length
from advcal_edge.spec import Modality

EXPECTED = "a recording of int16, or floats within [-1, 1], (t,) or (channels, t)"

RATES = (4_000.0, 384_000.0)
"""Hertz: half of a telephone's rate, and above the fastest converters; other rates are mistakes."""

MAX_CHANNELS = 64

SILENCE = 2.0**-15
"""A mix with a range of less than one 16-bit step means that the microphone was not connected."""


def check_audio(frame: object, where: str) -> Recording:
    """Return `frame` if it is a recording of sound.

    Raises:
        InputError: not a recording, another shape or dtype, an absurd rate, too long, shorter than one window of 25 ms,
            NaN, beyond full scale, or silent.
    """
    if not isinstance(frame, Recording):
        hint = "give its rate: `Recording(samples, 16000)`"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    values = frame.values
    if not isinstance(values, np.ndarray) or values.ndim not in (1, 2) or not _is_sound(values.dtype):
        hint = "32-bit counts are `samples / 2**31`, unsigned bytes `(samples - 128) / 128`"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    if not RATES[0] <= frame.rate <= RATES[1]:
        raise InputError(
            f"{where} is {describe(frame)}; expected a rate of {RATES[0]:g} to {RATES[1]:g} Hz",
            hint="the rate is in samples a second, not in kHz; speech and scenes are recorded at 16000 or more",
        )
    if values.ndim == 2 and values.shape[0] > min(MAX_CHANNELS, values.shape[1]):
        raise InputError(
            f"{where} is {describe(frame)}; expected at most {MAX_CHANNELS} channels, and more samples than channels",
            hint="samples come last: `samples.T`",
        )
    limits.SOUND_SAMPLES.check(values.size, f"{where}, {describe(frame)},", InputError)
    if values.shape[-1] < WINDOW * frame.rate or values.size == 0:
        raise InputError(
            f"{where} is {describe(frame)}; expected at least {1000 * WINDOW:g} ms", hint="record for longer"
        )
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())  # NaN propagates through both
        if not (low >= -1 and high <= 1):
            raise InputError(
                f"{where} spans [{low:g}, {high:g}]; expected finite values within [-1, 1]",
                hint="full scale is 1; 16-bit samples may stay int16",
            )
    swing = float(np.ptp(_mix(values)))
    if swing < SILENCE:
        raise InputError(
            f"{where} is silent: its mix swings by {swing:g} of full scale; expected at least {SILENCE:g}",
            hint="is the microphone connected and not muted?",
        )
    return frame


def audio_tensors(recording: Recording, modality: Modality, clips: int) -> NDArray[np.float32]:
    """A checked recording as (clips, 1, mels, frames) within the bounds, on their 16-bit grid."""
    _, mels, frames = modality.input.shape
    rate, seconds, repeat = _settings(modality)
    wave = _mix(recording.values)[None]
    length = resampled_length(wave.shape[1], recording.rate, rate)
    batch = np.empty((clips, mels, frames), np.float32)
    for index, start in enumerate(clip_starts(length, rate, seconds, clips)):
        count = min(round(seconds * rate), length - start)
        clip = resample(wave, recording.rate, rate, start, count, hold=False)[0].astype(np.float32)
        batch[index] = _fit(log_mel(clip - clip.mean(), rate, mels), frames, repeat)
    return snap(batch[:, None], modality)


def _is_sound(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind == "f" or (dtype.kind == "i" and dtype.itemsize == 2)


def _mix(values: Array) -> NDArray[np.float32]:
    """Mean of all channels (t,), full scale at 1."""
    scale = np.float32(2**-15 if values.dtype.kind == "i" else 1)
    mono = values if values.ndim == 1 else values.mean(axis=0, dtype=np.float32)
    return mono.astype(np.float32) * scale


def _fit(spectrogram: NDArray[np.float32], frames: int, repeat: bool) -> NDArray[np.float32]:
    mels, length = spectrogram.shape
    if repeat:
        return np.tile(spectrogram, (1, -(-frames // length)))[:, :frames]
    fitted = np.zeros((mels, frames), np.float32)
    fitted[:, : min(length, frames)] = spectrogram[:, :frames]
    return fitted


def _settings(modality: Modality) -> tuple[float, float, bool]:
    """The rate, the seconds of a clip (by default what the frames span), and whether short clips repeat."""
    channels, mels, frames = modality.input.shape
    if channels != 1 or mels < 3:
        raise ConfigError(
            f"an audio encoder takes {modality.input.shape}; expected (1, mels, frames), three mels or more"
        )
    rate = modality.number("rate")
    seconds = modality.number("seconds", (frames - 1) * SHIFT + WINDOW)
    if not RATES[0] <= rate <= RATES[1]:
        raise ConfigError(f"`input.rate` is {rate:g}; expected {RATES[0]:g} to {RATES[1]:g} Hz")
    if not WINDOW <= seconds <= 3600:
        raise ConfigError(f"`input.seconds` is {seconds:g}; expected the length of a clip, {WINDOW:g} to 3600")
    return rate, seconds, modality.number("repeat", 0.0) != 0


class _Audio:
    """Implements `Sensor`."""

    frame_axes = 2

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return read_sound(path)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_audio(frame, where)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return audio_tensors(cast(Recording, frame), modality, clips)


AUDIO = _Audio()


SHIFT = 0.010
WINDOW = 0.025
"""Seconds between frames, and seconds that a frame spans."""

LOWEST = 20.0
"""Hertz: the start of the first triangle."""

EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(wave: NDArray[np.float32], rate: float, mels: int) -> NDArray[np.float32]:
    """The natural logarithm of `mels` energies (mels, frames) of a wave (t,) of at least one `WINDOW`.

    Each frame loses its mean, gets pre-emphasis and a symmetrical Hann window, and is padded with zeros to a power of
    two. Triangles over its power spectrum give energies of at least `FLOOR`. Only whole frames count.
    """
    size, shift = int(rate * WINDOW), int(rate * SHIFT)
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::shift].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)  # the first sample counts as its own predecessor
    points = 1 << (size - 1).bit_length()
    spectrum = np.fft.rfft((frames - EMPHASIS * before) * np.hanning(size), points)
    energies = mel_triangles(mels, points, rate) @ np.square(np.abs(spectrum[:, :-1])).T
    return np.log(np.maximum(energies, FLOOR)).astype(np.float32)


@cache
def mel_triangles(mels: int, points: int, rate: float) -> NDArray[np.float64]:
    """Weights (mels, points / 2) of the frequencies below Nyquist; a triangle's feet are its neighbours' tips."""
    corners = np.linspace(_to_mel(np.array(LOWEST)), _to_mel(np.array(rate / 2)), mels + 2)[:, None]
    left, tip, right = corners[:-2], corners[1:-1], corners[2:]
    frequencies = _to_mel(np.arange(points // 2) * (rate / points))
    rise, fall = (frequencies - left) / (tip - left), (right - frequencies) / (right - tip)
    triangles: NDArray[np.float64] = np.maximum(np.minimum(rise, fall), 0)
    triangles.flags.writeable = False  # the array is cached and shared
    return triangles


def _to_mel(hertz: NDArray[Any]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127 * np.log1p(hertz / 700)
    return mel
