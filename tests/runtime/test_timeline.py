"""Frames are laid out by their time stamps; whatever a film claims of its rate, time is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.runtime.sensors.timeline import Timeline, lay_out

CLAIMS = st.sampled_from([0.0, 1.0, 25.0, 29.97, 30.0, 1000.0])


def laid_out(stamps: Any, claimed: float = 30.0, longest: float = 2.0, assume: bool = False) -> Timeline:
    return lay_out(np.asarray(stamps, np.float64), claimed, longest, Path("film"), assume=assume)


@given(
    frames=st.integers(2, 2000),
    rate=st.sampled_from([0.2, 1, 10, 23.976, 25, 29.97, 30, 59.94, 120, 240]),
    grain=st.sampled_from([1e-3, 1 / 90000, 1e-9]),
    start=st.floats(0, 100),
    claimed=CLAIMS,
)
def test_a_steady_film_has_a_step_for_each_frame(
    frames: int, rate: float, grain: float, start: float, claimed: float
) -> None:
    stamps = start + np.rint(np.arange(frames) / rate / grain) * grain
    timeline = laid_out(stamps, claimed)
    assert np.array_equal(timeline.steps, np.arange(frames))
    assert timeline.rate == pytest.approx(rate, rel=1.1e-3 + grain * rate / (frames - 1))


@given(
    frames=st.integers(12, 300),
    lost=st.sets(st.integers(1, 298), max_size=8),
    rate=st.sampled_from([15, 30, 60]),
    claimed=CLAIMS,
)
def test_a_frame_that_was_dropped_leaves_the_one_before_on_screen(
    frames: int, lost: set[int], rate: float, claimed: float
) -> None:
    kept = np.array([frame for frame in range(frames) if frame not in lost or frame == frames - 1])
    timeline = laid_out(np.rint(kept / rate * 1000) / 1000, claimed)
    if abs(timeline.rate - rate) < 0.01 * rate:
        on_screen = [kept[kept <= step].max() for step in range(frames)]
        assert np.array_equal(kept[timeline.shown(np.arange(timeline.length))], on_screen)
    else:  # too few frames say the rate: then it is resampled
        assert_in_time(timeline, kept / rate)


def assert_in_time(timeline: Timeline, stamps: NDArray[np.float64]) -> None:
    """At each step the frame is one that is on screen within half a step and a millisecond."""
    stamps = stamps - stamps[0]
    at = np.arange(timeline.length) / timeline.rate
    shown = timeline.shown(np.arange(timeline.length))
    near = 0.5 / timeline.rate + 1e-3
    assert (stamps[shown] <= at + near).all()
    assert (np.r_[stamps[1:], np.inf][shown] >= at - near).all()
    assert shown[-1] == len(stamps) - 1


@given(st.lists(st.sampled_from([0.008, 0.02, 0.033, 0.05, 0.1, 0.3]), min_size=1, max_size=200), CLAIMS)
def test_a_film_of_variable_rate_shows_what_is_on_screen(between: list[float], claimed: float) -> None:
    stamps = np.cumsum([1.5, *between])
    assert_in_time(laid_out(stamps, claimed), stamps)


def test_arrays_have_a_step_for_each_frame() -> None:
    timeline = Timeline.steady(5, 0.0)
    assert timeline.length == 5
    assert timeline.shown(np.array([0, 4, 4])).tolist() == [0, 4, 4]


@pytest.mark.parametrize(
    ("stamps", "found"),
    [
        ([0, 0.1, 0.2, 0.1, 0.2, 0.3], r"goes back in time: frame 3 is shown at 0.100 s, after frame 2 at 0.200 s"),
        ([0, 0.1, np.nan, 0.3], "goes back in time: frame 2"),
        ([0, 0.0, 0.1, 0.1, 0.2, 0.2], "3 of 6 frames at the same time"),
        ([5, 5, 5], "2 of 3 frames at the same time"),
        ([0, 0.1, 0.2, 9.2, 9.3, 9.4], r"pauses for 9.000 s after frame 2, at 0.200 s: 90 times the usual 100 ms"),
        ([0, 1, 1e15], "spans .* days"),
    ],
)
def test_time_that_cannot_be_is_named(stamps: list[float], found: str) -> None:
    with refused(found) as refusal:
        laid_out(stamps)
    assert "input.assume_units=yes" in str(refusal.value.hint)


def test_what_is_assumed_is_taken() -> None:
    pause = laid_out([0, 0.1, 0.2, 9.2, 9.3, 9.4], assume=True)
    assert pause.shown(np.rint(np.array([0, 0.2, 5, 9.1, 9.4]) * pause.rate).astype(int)).tolist() == [0, 2, 2, 2, 5]
    fall = laid_out([0, 0.1, 0.2, 0.1, 0.2, 0.3], 10.0, assume=True)
    assert (fall.rate, fall.steps.tolist()) == (10.0, [0, 1, 2, 3, 4, 5])


def test_one_frame_twice_at_a_time_is_shown_once() -> None:
    stamps = np.r_[np.arange(20), 19, np.arange(20, 30)] / 10  # frames 19 and 20 at 1.9 s
    timeline = laid_out(stamps, 10.0)
    assert timeline.shown(np.array([round(1.9 * timeline.rate)])).tolist() == [20]


def test_a_film_of_slides_has_no_pauses() -> None:
    assert laid_out(np.arange(10) * 7.0, 1 / 7).length == 10
