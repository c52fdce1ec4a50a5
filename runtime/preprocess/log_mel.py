"""Log-mel spectrograms as Kaldi's `compute-fbank-feats` defines them, the front end of ImageBind and LanguageBind.

In numpy, because kaldi-native-fbank refuses the 128 triangles that ImageBind asks for: at 16 kHz one of them falls
between two frequencies of the spectrum. It is empty, as in `torchaudio.compliance.kaldi`, and stays at the floor.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHIFT = 0.010
WINDOW = 0.025
"""Seconds from one frame to the next, and seconds that a frame sees."""

LOWEST = 20.0
"""Hertz: where the first triangle begins."""

EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(wave: NDArray[np.float32], rate: float, mels: int) -> NDArray[np.float32]:
    """The natural logarithm of `mels` energies (mels, frames) of a wave (t,) of at least one `WINDOW`.

    A frame loses its mean, passes the pre-emphasis and a symmetrical Hann window and is filled with zeros to a power of
    two; triangles over the power of its spectrum give energies of at least `FLOOR`. Only whole frames count.
    """
    size, shift = int(rate * WINDOW), int(rate * SHIFT)
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::shift].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate(
        [frames[:, :1], frames[:, :-1]], axis=1
    )  # the first sample is taken for its own predecessor
    points = 1 << (size - 1).bit_length()
    spectrum = np.fft.rfft((frames - EMPHASIS * before) * np.hanning(size), points)
    energies = mel_triangles(mels, points, rate) @ np.square(np.abs(spectrum[:, :-1])).T
    return np.log(np.maximum(energies, FLOOR)).astype(np.float32)


@cache
def mel_triangles(mels: int, points: int, rate: float) -> NDArray[np.float64]:
    """Weights (mels, points / 2) of the frequencies below the Nyquist; a triangle's feet are its neighbours' tips."""
    corners = np.linspace(_to_mel(np.array(LOWEST)), _to_mel(np.array(rate / 2)), mels + 2)[:, None]
    left, tip, right = corners[:-2], corners[1:-1], corners[2:]
    frequencies = _to_mel(np.arange(points // 2) * (rate / points))
    rise, fall = (frequencies - left) / (tip - left), (right - frequencies) / (right - tip)
    triangles: NDArray[np.float64] = np.maximum(np.minimum(rise, fall), 0)
    triangles.flags.writeable = False  # it is kept and shared
    return triangles


def _to_mel(hertz: NDArray[Any]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127 * np.log1p(hertz / 700)
    return mel
