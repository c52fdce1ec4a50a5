"""Depth frames become disparity or distance, hole by hole; what is no depth is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import ConfigError
from advcal_edge.probe import from_levels
from advcal_edge.runtime.sensors import preprocess, preprocess_clips, read_frame
from advcal_edge.spec import Modality, depth, ranging

GOLDEN = Path(__file__).parent / "golden"
ARRAYS = settings(deadline=None, max_examples=80)
SIDES = st.integers(1, 70)


def mm(modality: Modality) -> Modality:
    return modality.with_settings({"depth_scale": "mm"})


def anything(modality: Modality) -> Modality:
    """Arrays of tests are no scenes."""
    return modality.with_settings({"assume_units": "yes"})


def assert_legal(modality: Modality, x: NDArray[np.float32]) -> None:
    modality.input.check(x)
    levels = np.rint((x.astype(np.float64) - modality.input.bounds[0]) / modality.input.width * 65535)
    assert np.array_equal(from_levels(levels.astype(np.uint16), modality.input), x), "off the 16-bit grid"


def expected_share(metres: float) -> float:
    return min(0.075 * 519 / metres / 77.85, 1) if np.isfinite(metres) and metres > 0 else 0.0


def room() -> NDArray[np.uint16]:
    """A wall at 4 m, a floor that comes nearer, a ball at 0.8 m, and two holes."""
    rows, columns = np.mgrid[:48, :64]
    scene = np.where(rows > 30, 4000 - 150 * (rows - 30), 4000)
    scene[(rows - 20) ** 2 + (columns - 30) ** 2 < 100] = 800
    scene[5:12, 50:60] = 0
    scene[::7, ::9] = 0
    return scene.astype(np.uint16)


@pytest.mark.parametrize("modality", [mm(depth(16)), mm(ranging(16))], ids=["disparity", "distance"])
def test_golden_file(modality: Modality) -> None:
    """`depth.png` is `room()`; `depth.npz` holds what both sensors made of it, on x86-64, as 16-bit levels."""
    frame = read_frame(GOLDEN / "depth.png", modality)
    assert np.array_equal(frame, room())
    with np.load(GOLDEN / "depth.npz") as golden:
        expected = from_levels(golden[modality.preprocess], modality.input)
    assert np.array_equal(preprocess(modality, [frame])[0], expected)


@ARRAYS
@given(data=st.data(), size=st.sampled_from([1, 7, 32]), raw=st.sampled_from([0.0, 1.0]))
def test_any_depth_frame_becomes_a_legal_sample_on_the_grid(data: st.DataObject, size: int, raw: float) -> None:
    shape = (data.draw(SIDES), data.draw(SIDES))
    metres = st.floats(0, 1000, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    frame = data.draw(
        hnp.arrays(st.sampled_from(["<u2", ">u2"]), shape)
        | hnp.arrays(st.sampled_from(["float32", "float64"]), shape, elements=metres)
    )
    frame[0, 0] = 1
    assert_legal(depth(size), preprocess(anything(depth(size)).with_settings({"raw_disparity": raw}), [frame]))
    assert_legal(ranging(size), preprocess(anything(ranging(size)), [frame]))


@ARRAYS
@given(metres=hnp.arrays("float64", 64, elements=st.floats(0.01, 900)))
def test_disparity_falls_and_distance_grows_with_distance(metres: NDArray[np.float64]) -> None:
    frame = np.sort(metres).reshape(8, 8)
    assert (np.diff(preprocess(anything(depth(8)), [frame]).ravel()) <= 0).all()
    assert (np.diff(preprocess(anything(ranging(8)), [frame]).ravel()) >= 0).all()


@ARRAYS
@given(metres=hnp.arrays("float32", (6, 6), elements=st.floats(0, 50, width=32)))
def test_disparity_is_baseline_times_focal_length_over_distance(metres: NDArray[np.float32]) -> None:
    metres[0, 0] = 2
    x = preprocess(anything(depth(6)), [metres])[0, 0]
    reference = [[expected_share(float(value)) for value in row] for row in metres]
    assert np.abs(x - reference).max() <= 0.51 / 65535 + 1e-7


def test_millimetres_and_metres_of_one_scene_agree() -> None:
    assert np.array_equal(preprocess(mm(depth(16)), [room()]), preprocess(depth(16), [room() / 1000]))


def test_raw_disparities_are_pixels_or_256ths_of_a_pixel() -> None:
    modality = depth(8).with_settings({"raw_disparity": 1})
    pixels = np.random.default_rng(0).integers(1, 20000, (8, 8))
    x = preprocess(modality, [pixels.astype(np.uint16)])
    assert np.array_equal(x, preprocess(modality, [pixels / 256]))
    assert np.abs(x[0, 0] - np.minimum(pixels / 256 / 77.85, 1)).max() < 1e-5


@pytest.mark.parametrize("hole", [0.0, np.nan, np.inf, -np.inf])
def test_no_return_is_infinitely_far_or_for_distances_nearest(hole: float) -> None:
    frame = np.full((8, 8), 2, np.float32)
    frame[2, 3] = hole
    assert np.argwhere(preprocess(depth(8), [frame])[0, 0] == 0).tolist() == [[2, 3]]
    x = preprocess(ranging(8), [frame])[0, 0]
    assert x[2, 3] == pytest.approx(0.001, abs=1e-5)
    assert x[0, 0] == pytest.approx(0.2, abs=1e-5)


@ARRAYS
@given(height=SIDES, width=SIDES, size=st.integers(1, 40), seed=st.integers(0, 99))
def test_resizing_invents_no_distance(height: int, width: int, size: int, seed: int) -> None:
    frame = np.random.default_rng(seed).choice([0, 500, 5000], (height, width)).astype(np.uint16)
    frame[height // 2, width // 2] = 500
    levels = {
        0.0,
        *preprocess(mm(depth(1)), [np.array([[500]], np.uint16), np.array([[5000]], np.uint16)]).ravel().tolist(),
    }
    assert set(preprocess(mm(depth(size)), [frame]).ravel().tolist()) <= levels


def test_the_centre_of_a_wide_frame_is_kept() -> None:
    frame = np.full((20, 60), 5000, np.uint16)
    frame[:, 20:40] = 500
    assert preprocess(mm(depth(10)), [frame]).min() == 1.0


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".npy"])
def test_files_of_sixteen_bits_are_the_counts_of_the_camera(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"room{suffix}"
    if suffix == ".npy":
        np.save(path, room())
    else:
        cv2.imwrite(str(path), room())
    assert np.array_equal(read_frame(path, mm(depth(8))), room())
    assert preprocess_clips(mm(depth(8)), read_frame(path, mm(depth(8)))).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("frame", "found", "hint"),
    [
        (np.ones((8, 8), np.uint8), r"uint8 \(8, 8\)", "16-bit"),
        (np.ones((8, 8), np.int32), "int32", "astype"),
        (np.ones((8, 8), bool), "bool", "16-bit"),
        (np.ones((8, 8, 3), np.uint16), r"\(8, 8, 3\)", "colours"),
        (np.ones((2, 8, 8, 1), np.uint16), r"\(2, 8, 8, 1\)", ""),
        (np.zeros((0, 8), np.uint16), "empty", ""),
        (np.zeros((8, 8), np.uint16), "no return in any pixel", ""),
        (np.full((8, 8), np.nan, np.float32), "no return in any pixel", ""),
        (np.full((8, 8), -1.0, np.float32), r"spans \[-1, -1\] metres", ""),
        (np.full((8, 8), 2500.0, np.float32), "2500", "depth_scale=mm"),
    ],
)
def test_what_is_no_depth_is_refused(frame: NDArray[Any], found: str, hint: str, tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", frame)
    with refused(found) as refusal:
        read_frame(tmp_path / "frame.npy", depth(8))
    assert r"frame.npy` " in refusal.value.message
    assert hint in (refusal.value.hint or "")


@pytest.mark.parametrize("name", ["baseline_m", "focal_px", "max_disparity_px"])
def test_a_camera_without_a_baseline_is_a_mistake_in_the_settings(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        preprocess(mm(depth(8)).with_settings({name: 0}), [room()])
