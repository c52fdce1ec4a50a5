"""Windows of sensor_msgs/Imu: by the stamps of the headers, with gaps and clocks that go back named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from refusal import refused, taken_or_refused
from ros import NANOSECONDS, motion

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.messages import FrameReader, StampedFrame, message_frame
from advcal_edge.runtime.sensors import Recording, preprocess
from advcal_edge.spec import imu

KIND = "sensor_msgs/msg/Imu"
START = 1_700_000_000 * NANOSECONDS
STEP = 10_000_000


def values(index: int) -> list[float]:
    return [0.02 * np.sin(index), 0.5, 9.8, 0.01 * np.cos(index), 0.001, 0.02]


def given_by(reader: FrameReader, stamps: list[int]) -> list[StampedFrame]:
    found = [reader.add(motion(at, values(index)), 0) for index, at in enumerate(stamps)]
    return [one for one in found if one is not None]


def recording(one: StampedFrame) -> Recording:
    assert isinstance(one.frame, Recording)
    return one.frame


def test_windows_touch() -> None:
    found = given_by(FrameReader(imu(100, 100.0), KIND), [START + STEP * index for index in range(250)])
    assert [one.stamp for one in found] == [START, START + NANOSECONDS]
    for index, one in enumerate(found):
        expected = np.array([values(100 * index + step) for step in range(100)]).T
        np.testing.assert_allclose(recording(one).values, expected, atol=1e-9)
        assert recording(one).rate == pytest.approx(100)


def test_windows_overlap_or_leave_time_between_them() -> None:
    stamps = [START + STEP * index for index in range(400)]
    often = given_by(FrameReader(imu(100, 100.0), KIND, every=0.5), stamps)
    seldom = given_by(FrameReader(imu(100, 100.0), KIND, every=1.5), stamps)
    long = given_by(FrameReader(imu(100, 100.0), KIND, seconds=2), stamps)
    assert [one.stamp - START for one in often] == [round(half * 5e8) for half in range(6)]
    assert [one.stamp - START for one in seldom] == [0, 1_500_000_000]
    assert [recording(one).values.shape[1] for one in long] == [200]


def test_uneven_stamps_are_laid_on_even_ones() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1.1, 120))
    stamps = (START + np.round(times * NANOSECONDS)).astype(np.int64).tolist()
    reader = FrameReader(imu(100, 100.0), KIND)
    found = [reader.add(motion(at, [t * 3, 0, 9.8, -t, 0, 0]), 0) for at, t in zip(stamps, times, strict=True)]
    (one,) = (one for one in found if one is not None)
    even = np.linspace(times[0], times[times < times[0] + 1][-1], recording(one).values.shape[1])
    np.testing.assert_allclose(recording(one).values[0], 3 * even, atol=1e-6)


def test_a_gap_is_named_and_the_next_window_is_whole() -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    stamps = [START + STEP * index for index in range(300) if not 30 <= index < 60]
    found = given_by(reader, stamps[:69])
    with refused(r"a gap of 0.31 s after 1700000000.29"):
        for at in stamps[69:]:
            reader.add(motion(at, values(0)), 0)
    assert not found


def test_a_pause_does_not_make_a_short_window() -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    given_by(reader, [START + STEP * index for index in range(30)])
    with refused("a gap of 3599.71 s after 1700000000.29"):
        reader.add(motion(START + 3600 * NANOSECONDS, values(0)), 0)
    later = [START + 3600 * NANOSECONDS + STEP * index for index in range(1, 130)]
    assert [one.stamp for one in given_by(reader, later)] == [START + 3600 * NANOSECONDS]


def test_a_window_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVCAL_MAX_MOTION_SAMPLES", "50")
    reader = FrameReader(imu(100, 100.0), KIND)
    given_by(reader, [START + STEP * index for index in range(50)])
    with refused("51 samples an axis"):
        reader.add(motion(START + STEP * 50, values(0)), 0)


def test_time_that_goes_back_or_stands_is_named() -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    given_by(reader, [START + STEP * index for index in range(50)])
    with refused("time goes back: the stamp 1600000000.000000000 s comes after 1700000000.490000000 s"):
        reader.add(motion(1_600_000_000 * NANOSECONDS, values(0)), 0)
    with refused("time does not pass"):
        reader.add(motion(1_600_000_000 * NANOSECONDS, values(0)), 0)
    early = [1_600_000_000 * NANOSECONDS + STEP * index for index in range(1, 130)]
    assert len(given_by(reader, early)) == 1


@pytest.mark.parametrize("name", ["linear_acceleration", "angular_velocity"])
def test_what_a_driver_does_not_measure_is_no_rest(name: str) -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    with refused(f"{name}` is not measured"):
        reader.add(motion(START, values(1), unmeasured=name), 0)
    reader.add(motion(START, values(1), unmeasured="orientation"), 0)


def test_a_short_stream_gives_what_it_has() -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    assert not given_by(reader, [START + STEP * index for index in range(40)])
    rest = reader.rest()
    assert rest is not None
    assert recording(rest).values.shape == (6, 40)


def test_a_bundle_that_declares_other_units_reads_messages_all_the_same() -> None:
    declared = {"accel_unit": "g", "gyro_unit": "deg/s", "columns": "gx,gy,gz,ax,ay,az"}
    stamps = [START + STEP * index for index in range(101)]
    tensors = []
    for modality in (imu(100, 100.0), imu(100, 100.0).with_settings(declared)):
        (one,) = given_by(FrameReader(modality, KIND), stamps)
        tensors.append(preprocess(modality, [one.frame]))
    np.testing.assert_array_equal(*tensors)


def test_one_message_is_no_recording() -> None:
    with pytest.raises(ConfigError, match="recording of many messages"):
        message_frame(motion(START, values(0)), imu(100, 100.0), KIND)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=60), st.floats(allow_nan=True))
def test_any_stamps_and_values(seconds: list[int], value: float) -> None:
    reader = FrameReader(imu(100, 100.0), KIND)
    for at in seconds:
        with taken_or_refused():
            reader.add(motion(at * NANOSECONDS, [value] * 6), 5)
    with taken_or_refused():
        reader.rest()
