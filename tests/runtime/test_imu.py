"""Motion in, fractions of full scale out, at the encoder's rate; anything else is an InputError."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused
from scipy import signal

from advcal_edge.errors import ConfigError
from advcal_edge.probe import from_levels
from advcal_edge.runtime.sensors import Recording, preprocess, preprocess_clips, read_frame
from advcal_edge.spec import imu

GOLDEN = Path(__file__).parent / "golden"
SMALL = imu(64, 50.0)
G = 9.80665
FULL_SCALE = np.repeat([16 * G, math.radians(2000)], 3)[:, None]
STEP = 2 / 65535
EXAMPLES = settings(deadline=None, max_examples=60)
HEADER = "t,ax,ay,az,gx,gy,gz"


def motion(samples: int, rate: float, hertz: float = 2.0) -> NDArray[np.float64]:
    """A swing about every axis, gravity on z."""
    t = np.arange(samples) / rate
    waves = np.sin(2 * np.pi * hertz * t + np.arange(6)[:, None])
    waves[2] += G
    return waves


def write_csv(path: Path, columns: NDArray[np.float64], header: str | None) -> Path:
    np.savetxt(path, columns.T, delimiter=",", header=header or "", comments="")
    if header is None:
        path.write_text(path.read_text().lstrip("\n"))
    return path


@EXAMPLES
@given(
    rate=st.floats(1, 32_000),
    samples=st.integers(2, 400),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
    kind=st.sampled_from(["float32", "float64", ">f4"]),
    clips=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_any_motion_becomes_legal_clips_on_the_grid(
    rate: float, samples: int, scale: float, kind: str, clips: int, seed: int
) -> None:
    values = np.random.default_rng(seed).uniform(-scale, scale, (6, samples)).astype(kind)
    modality = SMALL.with_settings({"clips": clips, "assume_units": "yes"})
    x = preprocess_clips(modality, Recording(values, rate))
    assert x.shape == (clips, 6, 64)
    SMALL.input.check(x)
    levels = np.rint((x.astype(np.float64) + 1) / 2 * 65535).astype(np.uint16)
    np.testing.assert_array_equal(from_levels(levels, SMALL.input), x)


def test_samples_at_the_encoder_s_rate_are_shares_of_full_scale() -> None:
    values = motion(64, 50)
    x = preprocess(SMALL, [Recording(values, 50)])[0]
    np.testing.assert_allclose(x, values / FULL_SCALE, atol=STEP)


@pytest.mark.parametrize("rate", [25.0, 100.0, 200.0, 1000.0, 119.7])
def test_what_stands_still_stays_still_at_any_rate(rate: float) -> None:
    values = np.repeat([[0.1], [-0.2], [G], [0.0], [0.04], [-2.0]], 300, axis=1)
    x = preprocess(SMALL, [Recording(values, rate)])[0]
    np.testing.assert_allclose(x, np.broadcast_to(values[:, :1] / FULL_SCALE, x.shape), atol=STEP)


@pytest.mark.parametrize("rate", [25.0, 100.0, 200.0, 119.7])
def test_resampling_keeps_a_movement(rate: float) -> None:
    samples = round(rate * 1.28 * 3)
    modality = SMALL.with_settings({"clips": 3})
    middle = preprocess_clips(modality, Recording(motion(samples, rate), rate))[1]
    start = int((math.ceil(samples * 50 / rate) - 64) / 2)
    expected = motion(start + 64, 50)[:, start:] / FULL_SCALE
    np.testing.assert_allclose(middle * FULL_SCALE, expected * FULL_SCALE, atol=0.012)


def test_resampling_agrees_with_scipy() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (6, 800))
    slow = signal.sosfiltfilt(signal.butter(6, 10, fs=200, output="sos"), noise, axis=1)
    x = preprocess_clips(SMALL, Recording(slow, 200))[0] * FULL_SCALE  # the middle 64 of 200 samples
    np.testing.assert_allclose(x, signal.resample_poly(slow, 1, 4, axis=1)[:, 68:132], atol=0.01)


def test_what_the_lower_rate_cannot_carry_is_filtered() -> None:
    hum = 0.5 * (motion(1024, 400, hertz=60) - [[0], [0], [G], [0], [0], [0]])  # would alias to 10 Hz
    assert np.abs(preprocess(SMALL, [Recording(hum, 400)]) * FULL_SCALE).max() < 0.02


def test_beyond_full_scale_the_sensor_saturates() -> None:
    values = np.zeros((6, 64))
    values[:, 20:30] = 1e4
    x = preprocess(SMALL, [Recording(values, 50)])[0]
    assert (x[:, 20:30] == 1).all()
    np.testing.assert_allclose(x[:, :20], 0, atol=STEP)


def test_a_short_recording_holds_its_last_values() -> None:
    values = motion(20, 50)
    x = preprocess_clips(SMALL.with_settings({"clips": 2}), Recording(values, 50))
    np.testing.assert_array_equal(x[0], x[1])
    np.testing.assert_allclose(x[0, :, 20:], np.broadcast_to(values[:, -1:] / FULL_SCALE, (6, 44)), atol=STEP)


def test_clips_spread_from_the_start_to_the_end() -> None:
    values = motion(164, 50)
    clips = preprocess_clips(SMALL.with_settings({"clips": 3}), Recording(values, 50))
    for clip, start in zip(clips, (0, 50, 100), strict=True):
        np.testing.assert_allclose(clip, values[:, start : start + 64] / FULL_SCALE, atol=STEP)


def test_a_budget_of_four_levels_in_the_sensor_s_units() -> None:
    eps = 4 / 255 * SMALL.input.width * FULL_SCALE[[0, 3], 0]
    np.testing.assert_allclose(eps, [4.92, 1.095], atol=0.005)  # m/s2 and rad/s, as documented


def test_golden_motion() -> None:
    x = preprocess_clips(SMALL, read_frame(GOLDEN / "imu_shake.csv", SMALL))
    with np.load(GOLDEN / "imu_shake.npz") as file:
        expected = from_levels(file["levels"], SMALL.input)
    np.testing.assert_allclose(x, expected, atol=2 * STEP)


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    values, times = motion(128, 100), 1.7e9 + np.arange(128) / 100
    shuffled = np.vstack([values[3:], times[None], values[:3]])
    path = tmp_path / "a.csv"
    np.savetxt(path, shuffled.T, fmt="%.9f", delimiter=",", header="GX, gy,gz,Timestamp,ax,ay,az", comments="")
    frame = read_frame(path, SMALL)
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(100)
    np.testing.assert_allclose(frame.values, values, atol=1e-4)


def test_uneven_times_are_made_even(tmp_path: Path) -> None:
    times = np.arange(200) / 100 + np.random.default_rng(0).uniform(-0.004, 0.004, 200)
    waves = 2 * np.sin(2 * np.pi * times + np.arange(6)[:, None])
    frame = read_frame(write_csv(tmp_path / "a.csv", np.vstack([times[None], waves]), HEADER), SMALL)
    assert isinstance(frame, Recording)
    even = times[0] + np.arange(200) / frame.rate
    np.testing.assert_allclose(frame.values, 2 * np.sin(2 * np.pi * even + np.arange(6)[:, None]), atol=4e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_files_without_times_need_the_file_rate(turned: bool, tmp_path: Path) -> None:
    values = motion(128, 100)
    plain = write_csv(tmp_path / "a.csv", values, None)
    np.save(tmp_path / "a.npy", values.T if turned else values)
    for path in (plain, tmp_path / "a.npy"):
        with refused("without timestamps") as caught:
            read_frame(path, SMALL)
        assert "input.file_rate" in str(caught.value.hint)
        frame = read_frame(path, SMALL.with_settings({"file_rate": 100}))
        assert isinstance(frame, Recording)
        assert frame.rate == 100
        np.testing.assert_allclose(frame.values, values)


ROW = "0.1,0.2,9.8,0,0,0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "no row of numbers"),
        (f"{HEADER}\n", "no row of numbers"),
        ("ax,ay,az,gx,gy\n0,0,9.8,0,0\n", "columns ax, ay, az, gx, gy;"),
        ("0,0,9.8,0,0\n0,0,9.8,0,0\n", "has 5 columns"),
        (f"0,{ROW}\n1,{ROW}\n", "has 7 columns"),
        (f"ax,ay,az,gx,gy,temperature\n{ROW}\n", "temperature"),
        (f"ax,ax,az,gx,gy,gz\n{ROW}\n", "once"),
        (f"t,time,ax,ay,az,gx,gy,gz\n0,0,{ROW}\n", "at most one"),
        (f"{HEADER}\n0,{ROW}\n0,{ROW}\n", "do not rise: in row 2 the time 0 comes twice"),
        (f"{HEADER}\n1,{ROW}\n2,{ROW}\n0,{ROW}\n", "do not rise: in row 3 the time 0 follows 2"),
        (f"{HEADER}\n0,{ROW}\nnan,{ROW}\n", "do not rise"),
        (f"{HEADER}\n0,{ROW}\n", "do not rise"),
        (f"{HEADER}\n0,{ROW}\n.01,{ROW}\n.02,{ROW}\n.03,{ROW}\n5,{ROW}\n", "gap of 4.97 s at 0.03 s, after row 4"),
        (f"{HEADER}\n0,{ROW}\n100000,{ROW}\n", "rate of 1e-05 Hz"),
        (f"{HEADER}\n0,{ROW}\n0.01,a,{ROW[4:]}\n", "no table of numbers"),
        (f"{HEADER}\n0,{ROW}\n0.01,0\n", "no table of numbers"),
        (f"{HEADER}\n0,nan{ROW[3:]}\n0.01,{ROW}\n", "NaN"),
        ("a\0b", "neither a CSV nor an npy"),
        ("\x89\udcff", "cannot read"),
    ],
)
def test_a_broken_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with refused(message):
        read_frame(path, SMALL)


@EXAMPLES
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.csv"
    path.write_bytes(HEADER.encode() + b"\n" + data)
    with refused(r"a\.csv"):
        read_frame(path, SMALL)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (motion(64, 50), "expected a recording"),
        (Recording(motion(64, 50)[:5], 50), "expected a recording"),
        (Recording(motion(64, 50).T, 50), "expected a recording"),
        (Recording(np.zeros((6, 64), np.int16), 50), "expected a recording"),
        (Recording(np.full((6, 64), np.inf), 50), "infinite"),
        (Recording(np.full((6, 64), np.nan), 50), "NaN"),
        (Recording(np.full((6, 64), 300.0), 50), "turns at 520 rad/s"),
        (Recording(np.zeros((6, 0)), 50), "2 samples an axis"),
        (Recording(np.zeros((6, 1)), 50), "2 samples an axis"),
        (Recording(motion(64, 50), -1), "rate of 1"),
        (Recording(motion(64, 50), math.nan), "rate of 1"),
        (Recording(motion(64, 50), 1e6), "rate of 1"),
    ],
)
def test_what_is_no_motion_is_refused(frame: Any, message: str) -> None:
    with refused(message):
        preprocess(SMALL, [frame]) if isinstance(frame, Recording) else preprocess_clips(SMALL, frame)


@pytest.mark.parametrize("change", [{"rate": 0}, {"accel_full_scale": 0}, {"gyro_full_scale": -1}])
def test_settings_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        preprocess(SMALL.with_settings(change), [Recording(motion(64, 50), 50)])
