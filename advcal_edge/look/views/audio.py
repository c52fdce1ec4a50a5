"""Sound as a waveform and a spectrogram in kHz; x as a mel spectrogram."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.chart import Chart, Span, curves
from advcal_edge.look.facts import quantity, ranged
from advcal_edge.look.plate import VIRIDIS, Plate, bar, coloured, labels
from advcal_edge.look.sight import Fact, Figure, Seen, View
from advcal_edge.report.plots import Axis
from advcal_edge.runtime.sensors import Recording
from advcal_edge.runtime.sensors.audio import SHIFT, WINDOW
from advcal_edge.runtime.sensors.resample import clip_starts, resampled_length

PLACES = 512  # columns of a spectrogram
FLOOR_DB = -100.0
NEPER = 10 / np.log(10)
"""Decibels of one unit of x: a factor e in energy."""


def view(seen: Seen) -> View:
    """The view of a sound."""
    recording, modality = cast(Recording, seen.frame), seen.modality
    channels = np.atleast_2d(recording.values)
    full = 2.0**15 if channels.dtype.kind == "i" else 1.0
    wave = channels.mean(axis=0, dtype=np.float64) / full
    seconds = len(wave) / recording.rate
    rate, each = modality.number("rate"), modality.number("seconds")
    length = resampled_length(len(wave), recording.rate, rate)
    starts = [start / rate for start in clip_starts(length, rate, each, len(seen.x))]
    spans = [Span(start, min(start + each, seconds), f"clip {k}") for k, start in enumerate(starts, 1)]
    read = [
        Fact("channels", f"{len(channels)}, averaged" if len(channels) > 1 else "1"),
        Fact("rate", quantity(recording.rate, "Hz", 8)),
        Fact("duration", quantity(seconds, "s")),
    ]
    level = 20 * np.log10(max(float(np.sqrt((wave**2).mean())), 1e-9))
    measured = [
        Fact("unit", "share of full scale"),
        *ranged(wave, "of full scale"),
        Fact("level", f"{quantity(level, 'dB of full scale, root mean square', 4)}"),
        Fact("at full scale", f"{100 * float((np.abs(wave) >= 1 - 2**-15).mean()):.3g} % of the samples"),
    ]
    short = "repeated" if modality.number("repeat", 0) else "filled with 0.0"
    fitted = [
        Fact("resampled", "not" if rate == recording.rate else f"from {recording.rate:g} to {rate:g} Hz"),
        Fact(
            "clips",
            f"{len(seen.x)} of {quantity(each, 's')}, starting at {', '.join(quantity(s, '', 4) for s in starts)} s",
        ),
        *([Fact("too short", f"shorter than a clip: {short}")] if seconds < each else []),
    ]
    raw: list[Figure] = [
        curves(
            "Waveform",
            [("mean of the channels", wave)],
            (0.0, seconds),
            x_name="seconds",
            y_name="share of full scale",
            spans=spans[:1] if seconds <= each else spans,
        ),
        spectrogram(wave, recording.rate, seconds),
    ]
    clips: list[Figure] = [
        mel_chart(x[0], f"Clip {k}" if len(seen.x) > 1 else "x", modality.input.bounds) for k, x in enumerate(seen.x, 1)
    ]
    clips.append(palette_of_x(modality.input.bounds))
    return View(
        read, measured, fitted, raw, clips, f"{quantity(seen.step * NEPER, 'dB', 3)} in each cell of the spectrogram"
    )


def spectrogram(wave: NDArray[np.float64], rate: float, seconds: float) -> Chart:
    """Power in decibels over seconds and kHz, in windows of 25 ms."""
    size = max(16, int(rate * WINDOW))
    starts = np.linspace(0, len(wave) - size, min(PLACES, max(1, (len(wave) - size) // max(size // 4, 1) + 1))).astype(
        int
    )
    window = np.hanning(size)
    frames = np.stack([wave[start : start + size] for start in starts]) * window
    power = np.abs(np.fft.rfft(frames, axis=1)) / (window.sum() / 2)
    decibels = 20 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 20))).T[::-1]
    top = max(float(decibels.max()), FLOOR_DB + 40)
    picture = coloured(decibels, top - 80, top, VIRIDIS)
    x, y = Axis(0.0, seconds, 0.0, 100.0), Axis(0.0, rate / 2000, 100.0, 0.0)
    note = f"bright is loud: the palette spans 80 dB up to {top:.0f} dB of full scale"
    return Chart("Spectrogram", note, "seconds", "kHz", labels(x, 8), labels(y, 5), picture=picture)


def mel_chart(x: NDArray[np.float32], title: str, bounds: tuple[float, float]) -> Chart:
    """x (mels, frames) over seconds and mel bands."""
    mels, frames = x.shape
    across, up = Axis(0.0, frames * SHIFT, 0.0, 100.0), Axis(0.0, float(mels), 100.0, 0.0)
    picture = coloured(x[::-1], *bounds, VIRIDIS)
    return Chart(title, "", "seconds", "mel band", labels(across, 8), labels(up, 4), picture=picture, height=140)


def palette_of_x(bounds: tuple[float, float]) -> Plate:
    """The palette of all clips of x, alone."""
    scale = bar(*bounds, VIRIDIS, "x, natural logarithm of mel energy")
    return Plate("Palette of x", "", scale.palette[:, :0], scale)
