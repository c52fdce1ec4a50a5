"""Resample signals by windowed-sinc interpolation in plain numpy; only the requested part is computed.

Filter: a sinc of `ZEROS` zero crossings per side under a squared cosine, cut off at `ROLLOFF` of the lower Nyquist
frequency. That is the default of `torchaudio.functional.resample` (Smith, Digital Audio Resampling, 2002).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

ZEROS = 6
ROLLOFF = 0.99
BLOCK = 2**20
"""Weights computed at a time, 8 MiB: those of a whole clip at 192 kHz would not fit a robot's memory."""


def resampled_length(length: int, source: float, target: float) -> int:
    """Number of samples at `target` hertz of `length` samples at `source` hertz."""
    return math.ceil(length * target / source)


def resample(
    values: NDArray[Any], source: float, target: float, start: int, count: int, *, hold: bool
) -> NDArray[np.float64]:
    """Samples `start` to `start + count` at `target` hertz of a signal (c, t) at `source` hertz, as (c, count).

    Beyond its ends the signal is zero. With `hold` it keeps its first and last values there, and the filter's weights
    sum to exactly one, so that constants are preserved: gravity, unlike sound, does not oscillate about zero.
    """
    if source == target:
        places = np.arange(start, start + count)[:, None]
        return _gather(values, places, hold)[..., 0]
    cutoff = min(source, target) * ROLLOFF
    reach = math.ceil(ZEROS * source / cutoff)
    taps = np.arange(-reach, reach + 1)
    x = np.empty((len(values), count))
    rows = max(1, BLOCK // len(taps))
    for first in range(0, count, rows):
        last = min(first + rows, count)
        travelled = np.arange(start + first, start + last) * source
        phases, which = np.unique(travelled % target / target, return_inverse=True)  # 160 from 44.1 to 16 kHz
        weights = _weigh((taps - phases[:, None]) * (cutoff / source)) * (cutoff / source)
        if hold:
            weights /= weights.sum(axis=1, keepdims=True)
        places = (travelled // target).astype(np.int64)[:, None] + taps
        x[:, first:last] = np.einsum("cnk,nk->cn", _gather(values, places, hold), weights[which])
    return x


def _weigh(crossings: NDArray[np.float64]) -> NDArray[np.float64]:
    window: NDArray[np.float64] = np.cos(np.clip(crossings / ZEROS, -1, 1) * (math.pi / 2)) ** 2
    return np.sinc(crossings) * window


def _gather(values: NDArray[Any], places: NDArray[np.int64], hold: bool) -> NDArray[np.float64]:
    length = values.shape[1]
    taken = values[:, np.clip(places, 0, length - 1)].astype(np.float64)
    return taken if hold else taken * ((places >= 0) & (places < length))


def clip_starts(length: int, rate: float, seconds: float, clips: int) -> list[int]:
    """First samples of `clips` spread evenly over a recording of `length` samples; a single clip is in the middle.

    The first clip starts with the recording and the last one ends with it, as pytorchvideo's constant clips do, with
    the same rounding: a shift by one sample gives another spectrogram. Shorter recordings repeat one clip.
    """
    room = Fraction(max(length / rate - seconds, 0.0))
    shares = [Fraction(1, 2)] if clips == 1 else [Fraction(clip, clips - 1) for clip in range(clips)]
    return [int(room * share * Fraction(rate)) for share in shares]
