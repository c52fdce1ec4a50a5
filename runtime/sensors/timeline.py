"""Time stamps of a film's frames, and which frame is on screen at each step of a steady clock.

Containers claim a rate that many films do not keep: browsers claim 1000 Hz, phones slow down in the dark, recorders
drop frames. Stamps say when each frame was shown. A film is laid out on steps of equal length as the filter `fps` of
FFmpeg does it: a frame belongs to the step nearest to its stamp, and stays on screen until the next one. At a steady
rate every step has its own frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.sensor_file import quoted

FASTEST = 1e5
"""Hertz: cameras for crash tests; stamps of most containers end at 1000."""

JITTER = 0.25
"""Steps that a stamp of a steady film may lie off its place; a millisecond is 0.24 of a step at 240 Hz."""

REPEATED = 0.1
"""Share of frames that may have the stamp of the frame before: a player shows only the last of these."""

LONGEST = 1e8
"""Seconds that a film may span: three years, one frame a quarter of an hour."""

PAUSE = 10
"""Typical intervals between two frames from which on it is a pause."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Frames of a film on the steps of a clock."""

    rate: float
    """Steps per second; 0 if frames have no time."""

    steps: NDArray[np.int64]
    """Step at which each frame appears, from 0 on; does not fall."""

    @classmethod
    def steady(cls, frames: int, rate: float) -> Timeline:
        """A frame at each step."""
        return cls(rate, np.arange(frames))

    @property
    def length(self) -> int:
        """Number of steps; the last frame has one."""
        return int(self.steps[-1]) + 1 if len(self.steps) else 0

    def shown(self, steps: NDArray[np.intp]) -> NDArray[np.intp]:
        """Index of the frame on screen at each of some steps."""
        return np.searchsorted(self.steps, steps, side="right") - 1


def lay_out(stamps: NDArray[np.float64], claimed: float, longest: float, film: Path, *, assume: bool) -> Timeline:
    """The timeline of two or more frames with `stamps` in seconds, in a file that claims a rate.

    `longest` is the time in seconds for which a film may show one picture without it being a pause of the recorder;
    0 stands for half of the film. With `assume` pauses are taken as they are, and stamps that cannot be are replaced by
    the claimed rate.

    Raises:
        InputError: time falls or stands still, or the recorder paused; the message says where.
    """
    stamps = stamps - stamps[0]
    between = np.diff(stamps)
    repeated = np.count_nonzero(between == 0)
    if not stamps[-1] < LONGEST or not between.min() >= 0 or repeated > REPEATED * len(between):
        if not (assume and 0 < claimed <= FASTEST):
            raise _impossible(stamps, between, film)
        return Timeline.steady(len(stamps), claimed)
    typical = float(np.median(between[between > 0]))
    at = int(np.argmax(between))
    pause = float(between[at])
    if not assume and pause > max(PAUSE * typical, longest or stamps[-1] / 2):
        raise InputError(
            f"`{film}` pauses for {pause:.3f} s after frame {at}, at {stamps[at]:.3f} s: {pause / typical:,.0f} times"
            f" the usual {1000 * typical:.0f} ms; expected a recording without gaps",
            hint=f"`ffmpeg -i {quoted(film)} -to {stamps[at]:.3f} -c:v libx264 film.mp4` keeps what is before it; or"
            " let clips show the last picture before it for so long: `--set input.assume_units=yes`, at calibration",
        )
    for rate in _steady_rates(stamps, between, typical, claimed):
        places = stamps * rate
        steps = np.rint(places)
        if np.abs(places - steps).max() <= JITTER and np.diff(steps).min() >= 1:
            return Timeline(rate, steps.astype(np.int64))
    quick = 1 / float(np.quantile(between[between > 0], 0.05))
    rate = min(max(quick, 1 / typical), FASTEST)
    return Timeline(rate, np.rint(stamps * rate).astype(np.int64))


def _impossible(stamps: NDArray[np.float64], between: NDArray[np.float64], film: Path) -> InputError:
    hint = (
        f"`ffmpeg -i {quoted(film)} -c:v libx264 film.mp4` writes it anew with time stamps that rise; or take its"
        " frames at the rate it claims: `--set input.assume_units=yes`, at calibration"
    )
    fall = np.flatnonzero(~(between >= 0))
    if len(fall):
        at = int(fall[0])
        found = (
            f"goes back in time: frame {at + 1} is shown at {stamps[at + 1]:.3f} s, after frame {at} at"
            f" {stamps[at]:.3f} s"
        )
    elif stamps[-1] >= LONGEST:
        found = f"spans {stamps[-1] / 86400:,.0f} days"
    else:
        found = f"has {np.count_nonzero(between == 0)} of {len(stamps)} frames at the same time as the frame before"
    return InputError(f"`{film}` {found}; expected time stamps that rise", hint=hint)


def _steady_rates(
    stamps: NDArray[np.float64], between: NDArray[np.float64], typical: float, claimed: float
) -> list[float]:
    """Rates that the film may have, if it has one: on average, between frames dropped here and there, as claimed."""
    rate = 1 / typical
    for _ in range(3):  # whole steps between frames give the rate, which gives the steps better
        rate = float(np.rint(between * rate).sum() / stamps[-1])
    rates = [len(between) / float(stamps[-1]), rate]
    if 0 < claimed < 2 / typical:
        close = [one for one in rates if abs(one / claimed - 1) < 1e-3]  # stamps are rounded, the claim may be exact
        rates = [claimed, *rates] if close else [*rates, claimed]
    return [one for one in rates if 0 < one <= FASTEST]
