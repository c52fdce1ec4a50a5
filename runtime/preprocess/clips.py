"""Where the clips of a recording lie."""

from __future__ import annotations

from fractions import Fraction


def clip_starts(length: int, rate: float, seconds: float, clips: int) -> list[int]:
    """First samples of `clips` that spread evenly over a recording of `length` samples; one alone lies in its middle.

    The first clip starts with the recording and the last one ends with it, as pytorchvideo's constant clips do, down to
    their rounding: a clip that starts one sample elsewhere is another spectrogram. Shorter recordings repeat one clip.
    """
    room = Fraction(max(length / rate - seconds, 0.0))
    shares = [Fraction(1, 2)] if clips == 1 else [Fraction(clip, clips - 1) for clip in range(clips)]
    return [int(room * share * Fraction(rate)) for share in shares]
