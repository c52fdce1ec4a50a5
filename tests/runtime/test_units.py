"""What is declared of a sensor decides how frames are read; what contradicts it is refused with what would fit."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.runtime.sensors.depth import measure_metres
from advcal_edge.runtime.sensors.plausible import percentiles
from advcal_edge.runtime.sensors.thermal import PERCENTILES, _count_ends, _to_kelvin, measure_degrees
from advcal_edge.spec import Modality, depth, image, ranging, thermal

SCENES = settings(deadline=None, max_examples=60)
LEVEL = 1.01 / 255


def scene(height: int, width: int, blur: float, seed: int) -> NDArray[np.float64]:
    """A smooth ground with some boxes on it, in [0, 1]."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), blur)
    ground = (ground - ground.min()) / np.ptp(ground)
    for _ in range(rng.integers(0, 5)):
        top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
        bottom, right = top + rng.integers(3, height // 2), left + rng.integers(3, width // 2)
        ground[top:bottom, left:right] += rng.uniform(-0.4, 0.4)
    return np.asarray((ground - ground.min()) / np.ptp(ground))


honest = st.builds(
    scene, st.integers(24, 90), st.integers(24, 120), st.floats(0.8, 12), st.integers(0, 2**31)
)  # fmt: skip


def kelvin() -> NDArray[np.float64]:
    return 290 + 15 * scene(60, 80, 6, 1)


def with_(modality: Modality, **changes: float | str) -> Modality:
    return modality.with_settings(changes)


def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one - other).max())


# --- thermal


REFERENCE = preprocess(thermal(32), [kelvin() - 273.15])


@pytest.mark.parametrize(
    ("counts", "declared"),
    [
        (np.rint(kelvin() * 100).astype(np.uint16), {}),
        (np.rint(kelvin() * 10).astype(np.uint16), {"kelvin_per_count": 0.1}),
        (np.rint(kelvin() * 25).astype(np.uint16), {"kelvin_per_count": "flir-tlinear-high"}),
        (np.rint(kelvin() * 64).astype(np.uint16), {"kelvin_per_count": 1 / 64}),
        (np.rint((kelvin() - 273.15) * 100).astype(np.int16), {"kelvin_offset": 273.15}),
        (np.rint((kelvin() - 300) * 100).astype(np.int16), {"kelvin_offset": 300.0}),
        (np.rint(kelvin() * 100).astype(np.uint16).byteswap(), {"byte_order": "swapped"}),
        (np.rint((kelvin() - 200) * 100).astype(np.uint16), {"kelvin_per_count": "raw"}),
    ],
    ids=["lepton", "tenths", "high", "64ths", "centi-degrees", "signed", "swapped", "raw"],
)
def test_a_scene_is_the_same_in_any_declared_unit(counts: NDArray[Any], declared: dict[str, float | str]) -> None:
    step = 1 if declared.get("kelvin_per_count", 0.01) in (0.01, "raw") else 3  # coarser counts, coarser levels
    assert apart(preprocess(with_(thermal(32), **declared), [counts]), REFERENCE) <= step * LEVEL
    if declared:
        with refused("expected") as refusal:
            preprocess(thermal(32), [counts])
        name, value = next(iter(declared.items()))
        text = f"{value:g}" if isinstance(value, float) else value
        assert f"input.{name}=" in str(refusal.value.hint)
        assert text in str(refusal.value.hint) or value == 300.0


def test_temperatures_are_those_of_the_declared_unit() -> None:
    counts = np.rint((kelvin() - 273.15) * 100).astype(np.int16)
    degrees, holes = measure_degrees(counts, with_(thermal(8), kelvin_offset=273.15))
    assert np.abs(degrees - kelvin()).max() < 0.006
    assert not holes.any()


def test_no_hint_destroys_the_sign_or_the_fraction() -> None:
    signed = np.full((20, 20), -1200, np.int16)
    signed[::2] = 900
    for modality, frame in (
        (thermal(8), signed),
        (thermal(8), signed.astype(np.int32)),
        (thermal(8), np.full((20, 20), 29000.5)),
        (depth(8), signed),
        (depth(8), np.full((20, 20), 1500.5, np.float32)),
        (depth(8), np.full((20, 20), 0.0015, np.float32)),
    ):
        with refused("expected") as refusal:
            preprocess(modality, [frame])
        assert "astype('uint16')" not in str(refusal.value.hint)


def test_holes_take_no_part_in_the_gain_control_and_make_no_contrast() -> None:
    counts = np.rint(kelvin() * 100).astype(np.uint16)
    pierced = counts.copy()
    pierced[10:14, 20:26], pierced[40, 50] = 65535, 1
    x = preprocess(with_(thermal(80), invalid="1,65535"), [pierced])[0, 0]
    whole = preprocess(thermal(80), [counts])[0, 0]
    beside = x[:, 1:] - x[:, :-1]
    assert np.abs(beside).max() <= np.abs(whole[:, 1:] - whole[:, :-1]).max() * 8  # filled, not a step to 0 or 1
    far = np.ones((60, 80), bool)
    far[5:20, 15:32] = far[35:45, 45:55] = False
    size = with_(thermal(60), invalid="1,65535")
    kept = np.abs(preprocess(size, [pierced[:, :60]]) - preprocess(thermal(60), [counts[:, :60]]))[0, 0]
    assert kept[far[:, :60]].max() <= 2 * LEVEL


def test_what_a_warp_left_at_zero_kelvin_is_a_hole() -> None:
    counts = np.rint(kelvin() * 100).astype(np.uint16)
    turned = cv2.warpAffine(counts, cv2.getRotationMatrix2D((40, 30), 5, 1), (80, 60))
    for frame in (turned, turned.astype(np.float32) / 100):
        degrees, holes = measure_degrees(frame, thermal(8))
        assert np.percentile(degrees[~holes], 1) > 285  # hardly a mixture with the border is left
        assert 0.03 < holes.mean() < 0.3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_degrees_are_holes_once_declared(value: float) -> None:
    degrees = (kelvin() - 273.15).astype(np.float32)
    broken = degrees.copy()
    broken[3, 4] = value
    with refused("finite") as refusal:
        preprocess(thermal(32), [broken])
    assert "input.invalid=nan,inf" in str(refusal.value.hint)
    assert apart(preprocess(with_(thermal(32), invalid="nan,inf"), [broken]), REFERENCE) < 0.2
    with refused("no temperature in any pixel"):
        preprocess(with_(thermal(8), invalid="nan"), [np.full((9, 9), np.nan)])


@pytest.mark.parametrize("rows", [1, 2, 3, -1, -2, -3])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_telemetry_are_seen_and_cut_off(rows: int, sparse: bool) -> None:
    rng = np.random.default_rng(abs(rows))
    counts = np.rint(kelvin() * 100).astype(np.uint16)
    words = rng.integers(0, 58744, (abs(rows), 80)).astype(np.uint16)
    words[:, rng.random(80) < 0.5 * sparse] = 0
    frame = np.vstack([words, counts] if rows > 0 else [counts, words])
    with refused("like noise from the rest") as refusal:
        preprocess(thermal(32), [frame])
    assert f"input.invalid=rows:{rows}`" in str(refusal.value.hint)
    assert np.array_equal(
        preprocess(with_(thermal(32), invalid=f"rows:{rows}"), [frame]), preprocess(thermal(32), [counts])
    )
    with refused("rows that are cut off|that are cut off"):
        preprocess(with_(thermal(32), invalid="rows:90"), [frame])


def test_what_is_no_temperature_is_accepted_once_when_told() -> None:
    unit = scene(20, 20, 2, 0).astype(np.float32)
    for frame, found in (
        (unit, "within \\[0, 1\\]"),
        (unit * 2000 + 2000, "median"),
        (np.zeros((8, 8), np.uint16), "all counts are 0"),
        ((unit * 50 + 100).astype(np.uint16), "from 100 to 150"),
        (np.random.default_rng(0).integers(0, 65536, (30, 30)).astype(np.uint16), "a scene of"),
    ):
        with refused(found) as refusal:
            preprocess(thermal(8), [frame])
        hint = str(refusal.value.hint)
        assert "assume_units=yes" in hint or "kelvin_per_count=raw" in hint
        assert preprocess(with_(thermal(8), assume_units="yes"), [frame]).shape == (1, 1, 8, 8)


def test_eight_significant_bits_are_grey_levels() -> None:
    grey = np.rint(scene(32, 32, 3, 2) * 255).astype(np.uint8)
    with refused("255") as refusal:
        preprocess(thermal(32), [grey.astype(np.uint16)])
    assert "input.significant_bits=8" in str(refusal.value.hint)
    declared = with_(thermal(32), significant_bits=8)
    assert np.array_equal(preprocess(declared, [grey.astype(np.uint16)]), preprocess(thermal(32), [grey]))
    with refused("significant bits declared"):
        preprocess(declared, [grey.astype(np.uint16) + 1])


@SCENES
@given(shape=honest, base=st.floats(225, 330), span=st.floats(0.2, 120), noise=st.floats(0.0, 0.3))
def test_honest_thermal_scenes_are_read(shape: NDArray[np.float64], base: float, span: float, noise: float) -> None:
    temperatures = base + span * shape + noise * np.random.default_rng(0).standard_normal(shape.shape)
    counts = np.rint(temperatures * 100).astype(np.uint16)
    degrees = (temperatures - 273.15).astype(np.float32)
    preprocess(thermal(16), [counts, counts if 0 <= degrees.min() <= degrees.max() <= 1 else degrees, counts])
    preprocess(with_(thermal(16), kelvin_per_count="raw"), [(counts - counts.min() + 7000).astype(np.uint16)])
    pierced = counts.copy()
    pierced[np.random.default_rng(1).random(shape.shape) < 0.01] = 0
    preprocess(thermal(16), [pierced])


# --- depth


def metres() -> NDArray[np.float64]:
    plane = np.rint((0.6 + 3 * scene(40, 50, 5, 3)) * 1000) / 1000
    plane[5:9, 8:14] = 0
    return np.asarray(plane)


ROTATED = (lambda v: ((v << 3) | (v >> 13)).astype(np.uint16))(np.rint(metres() * 1000).astype(np.uint16))


@pytest.mark.parametrize(
    ("counts", "scale"),
    [
        (np.rint(metres() * 1000).astype(np.uint16), "mm"),
        (np.rint(metres() * 5000).astype(np.uint16), "tum"),
        (np.rint(metres() * 256).astype(np.uint16), "kitti"),
        (np.rint(metres() * 4000).astype(np.uint16), "l515"),
        (np.rint(metres() * 10000).astype(np.uint16), "d405"),
        (np.rint(metres() * 2000).astype(np.uint16), 5e-4),
        (ROTATED, "sunrgbd"),
        ((metres() * 1000).astype(np.float32), "mm"),
        (metres().astype(np.float16), "m"),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [depth, ranging], ids=["disparity", "distance"])
def test_a_depth_frame_is_the_same_at_any_declared_scale(make: Any, counts: NDArray[Any], scale: float | str) -> None:
    modality = with_(make(40), depth_scale=scale)
    assert np.nanmax(np.abs(measure_metres(counts, modality) - np.where(metres(), metres(), np.nan))) < 0.0021
    assert apart(preprocess(modality, [counts]), preprocess(make(40), [metres()])) < 0.004
    if counts.dtype == np.uint16:
        with refused("expected `input.depth_scale`") as refusal:
            preprocess(make(40), [counts])
        assert "input.depth_scale=mm" in str(refusal.value.hint)
    elif scale == "mm":
        with refused("median of .* m at a depth scale of `m`|spans .* metres") as refusal:
            preprocess(make(40), [counts])
        assert "input.depth_scale=mm" in str(refusal.value.hint)


def test_a_scale_that_makes_no_distance_is_refused() -> None:
    counts = np.rint(metres() * 1000).astype(np.uint16)
    for scale, frame in (("m", counts), (1e-6, counts), ("mm", metres().astype(np.float32)), ("mm", metres())):
        with refused("expected one between 0.02 and 100 m"):
            preprocess(with_(depth(8), depth_scale=scale), [frame])
        preprocess(with_(depth(8), depth_scale=scale, assume_units="yes"), [frame])


def test_the_full_count_and_declared_values_are_holes() -> None:
    counts = np.rint(metres() * 1000).astype(np.uint16)
    pierced = counts.copy()
    pierced[20:24], pierced[30:32] = 65535, 9
    declared = with_(depth(40), depth_scale="mm", invalid="9,rows:-1")
    found = measure_metres(pierced, declared)
    assert found.shape == (39, 50)
    assert np.isnan(found[20:24]).all()
    assert np.isnan(found[30:32]).all()
    assert np.isnan(found).sum() == 6 * 50 + 24
    floats = metres().astype(np.float32)
    floats[0] = -1
    with refused("spans \\[-1") as refusal:
        preprocess(depth(8), [floats])
    assert "input.invalid=-1" in str(refusal.value.hint)
    preprocess(with_(depth(8), invalid="-1"), [floats])


@pytest.mark.parametrize("make", [depth, ranging], ids=["disparity", "distance"])
def test_swapped_bytes_of_depth_are_seen(make: Any) -> None:
    counts = np.rint(metres() * 5000).astype(np.uint16)
    modality = with_(make(16), depth_scale="tum")
    with refused("like noise") as refusal:
        preprocess(modality, [counts.byteswap()])
    assert "input.byte_order=swapped" in str(refusal.value.hint)
    declared = with_(modality, byte_order="swapped")
    assert np.array_equal(preprocess(declared, [counts.byteswap()]), preprocess(modality, [counts]))
    with refused("like noise") as refusal:
        preprocess(declared, [counts])
    assert "input.byte_order=stored" in str(refusal.value.hint)


def test_a_scale_and_disparities_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        preprocess(with_(depth(8), depth_scale="mm", raw_disparity=1), [np.full((8, 8), 900, np.uint16)])


def test_an_undeclared_frame_is_in_millimetres_once_accepted() -> None:
    counts = np.rint(metres() * 1000).astype(np.uint16)
    accepted = with_(depth(16), assume_units="yes")
    assert np.array_equal(preprocess(accepted, [counts]), preprocess(with_(depth(16), depth_scale="mm"), [counts]))


@SCENES
@given(shape=honest, near=st.floats(0.1, 8), span=st.floats(0.01, 20), holes=st.floats(0, 0.6))
def test_honest_depth_frames_are_read(shape: NDArray[np.float64], near: float, span: float, holes: float) -> None:
    rng = np.random.default_rng(0)
    distance = (near + span * shape) * (1 + 0.01 * rng.standard_normal(shape.shape))
    distance[rng.random(shape.shape) < holes] = 0
    preprocess(depth(16), [distance.astype(np.float32)])
    for name, scale in (("mm", 1000), ("tum", 5000 if distance.max() < 13 else 1000), ("kitti", 256)):
        preprocess(with_(depth(16), depth_scale=name), [np.rint(distance * scale).clip(0, 65535).astype(np.uint16)])


# --- pictures of sixteen bits


def test_significant_bits_scale_a_picture() -> None:
    full = np.rint(scene(32, 32, 3, 4) * 65535).astype(np.uint16)
    for bits in (8, 10, 12, 14):
        narrow = full >> (16 - bits)
        x = preprocess(with_(image(32), significant_bits=bits), [narrow])
        assert apart(x, preprocess(image(32), [full])) <= 2 * LEVEL
    with refused("expected at most 4095") as refusal:
        preprocess(with_(image(32), significant_bits=12), [full])
    assert "input.significant_bits=16" in str(refusal.value.hint)


@SCENES
@given(shape=honest, bits=st.sampled_from([8, 12]), top=st.floats(0.75, 1.3))
def test_a_camera_of_fewer_bits_is_refused_naming_them(shape: NDArray[np.float64], bits: int, top: float) -> None:
    bright = np.clip(shape**0.7 * top, 0, 1)
    if np.percentile(bright, 98) < 0.55:
        return  # hardly exposed
    counts = np.rint(bright * (2**bits - 1)).astype(np.uint16)
    with refused(f"as of a camera of {bits} bits") as refusal:
        preprocess(image(8), [counts])
    assert f"input.significant_bits={bits}`" in str(refusal.value.hint)
    assert "input.significant_bits=16`" in str(refusal.value.hint)
    preprocess(with_(image(8), significant_bits=16), [counts])


def test_saturation_at_a_narrower_range_tells_its_bits() -> None:
    for bits in (10, 11, 14):
        counts = np.rint(np.clip(scene(40, 40, 3, 5) * 1.4, 0, 1) * (2**bits - 1)).astype(np.uint16)
        with refused(f"as of a camera of {bits} bits"):
            preprocess(image(8), [counts])


@SCENES
@given(shape=honest, gamma=st.floats(0.5, 3), noise=st.floats(0, 60), seed=st.integers(0, 99))
@pytest.mark.parametrize("darkness", [1, 2, 3, 5, 9, 12])
def test_honest_pictures_are_read_dark_ones_too(
    darkness: int, shape: NDArray[np.float64], gamma: float, noise: float, seed: int
) -> None:
    """Each step of darkness halves the light. Left out are 4 and 8: exactly what cameras of 12 and 8 bits fill."""
    top = 0.98 * 65535 / 2**darkness
    light = top * shape**gamma + noise * min(1, 8 / 2**darkness) * np.random.default_rng(seed).standard_normal(
        shape.shape
    )
    counts = np.clip(np.rint(light), 0, None).astype(np.uint16)
    preprocess(image(8), [counts, np.repeat(counts[..., None], 3, 2)])


@SCENES
@given(shape=honest, darkness=st.integers(0, 12))
def test_pictures_moved_up_to_sixteen_bits_are_read_however_dark(shape: NDArray[np.float64], darkness: int) -> None:
    light = shape * 0.99 / 2**darkness
    preprocess(image(8), [np.rint(light * 4095).astype(np.uint16) << 4, np.rint(light * 255).astype(np.uint16) * 257])


@settings(deadline=None, max_examples=20)
@given(offset=st.integers(0, 900), noise=st.floats(0.5, 60), seed=st.integers(0, 99))
def test_a_covered_camera_is_read(offset: int, noise: float, seed: int) -> None:
    counts = np.random.default_rng(seed).normal(offset, noise, (40, 50)).clip(0, 65535).astype(np.uint16)
    preprocess(image(8), [counts])


@SCENES
@given(shape=st.builds(scene, st.integers(24, 90), st.integers(24, 120), st.floats(2, 12), st.integers(0, 2**31)))
def test_swapped_bytes_of_a_picture_are_seen(shape: NDArray[np.float64]) -> None:
    noise = 40 * np.random.default_rng(0).standard_normal(shape.shape)
    counts = np.clip(np.rint(500 + shape * 60000 + noise), 0, 65535).astype(np.uint16)
    try:
        preprocess(image(8), [counts.byteswap()])
    except InputError as error:
        hint = str(error.hint)
    else:
        hint = ""
    assert "input.byte_order=swapped" in hint
    declared = with_(image(8), byte_order="swapped")
    assert np.array_equal(preprocess(declared, [counts.byteswap()]), preprocess(image(8), [counts]))


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 60000), st.integers(1, 5000), st.integers(0, 99),
    st.sampled_from(["lepton", "boson", "raw", "flir-tlinear-high"]), st.sampled_from([0.0, 273.15]),
)  # fmt: skip
def test_counted_percentiles_are_those_of_numpy(
    height: int, width: int, low: int, span: int, seed: int, scale: str, offset: float
) -> None:
    """The fast way of the gain control gives the very bits of the slow one."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(low, low + span, (height, width)).astype(np.uint16)
    modality = with_(thermal(8), kelvin_per_count=scale, kelvin_offset=offset)
    kelvin = _to_kelvin(counts, modality)
    assert _count_ends(counts, modality) == tuple(np.percentile(kelvin, PERCENTILES))
    holes = rng.random(counts.shape) < rng.random()
    if not holes.all():
        assert _count_ends(counts, modality, holes) == tuple(np.percentile(kelvin[~holes], PERCENTILES))
    assert percentiles(counts, (2, 50, 98)) == np.percentile(counts.astype(np.float64), (2, 50, 98)).tolist()
