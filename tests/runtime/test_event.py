"""Events become pictures of where a scene brightened and darkened; what is no event is refused in words."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.runtime.sensors import preprocess, preprocess_clips, read_frame
from advcal_edge.spec import event

GOLDEN = Path(__file__).parent / "golden"
ARRAYS = settings(deadline=None, max_examples=80)
TABLE = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "i1"), ("t", "<i8")])


def sweep(count: int = 2000, seed: int = 0) -> NDArray[Any]:
    """A bright disc that crosses a sensor of 40 x 32: on events before it, off events behind, noise everywhere."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, TABLE)
    events["t"] = np.sort(rng.integers(0, 100_000, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    events["x"] = np.clip(12 + events["t"] / 8000 + 7 * np.cos(angle), 0, 39)
    events["y"] = np.clip(16 + 7 * np.sin(angle), 0, 31)
    events["p"] = np.where(np.cos(angle) > 0, 1, 0)
    noise = rng.random(count) < 0.1
    events["x"][noise], events["y"][noise] = rng.integers(0, 40, noise.sum()), rng.integers(0, 32, noise.sum())
    return events


def columns(events: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([events[name].astype(np.float64) for name in "txyp"], axis=1)


@st.composite
def recordings(draw: st.DrawFn) -> NDArray[np.float64]:
    count = draw(st.integers(1, 60))
    times = np.sort(draw(hnp.arrays("float64", count, elements=st.floats(-1e6, 1e6))))
    places = draw(hnp.arrays("int64", (count, 2), elements=st.integers(0, 40)))
    polarity = draw(hnp.arrays("int64", count, elements=st.sampled_from(draw(st.sampled_from([(0, 1), (-1, 1)])))))
    return np.column_stack([times, places, polarity])


def test_golden_file() -> None:
    """`event.npy` is `sweep()`; `event.npz` holds the picture it gave on x86-64; others may round a level off."""
    frame = read_frame(GOLDEN / "event.npy", event(24))
    with np.load(GOLDEN / "event.npz") as golden:
        expected = golden["x"].astype(int)
    assert np.abs(np.rint(preprocess(event(24), [frame])[0] * 255) - expected).max() <= 1


@ARRAYS
@given(events=recordings(), size=st.sampled_from([1, 7, 32]), sensor=st.sampled_from([0, 41, 100]))
def test_any_recording_becomes_a_legal_sample_on_the_grid(events: NDArray[np.float64], size: int, sensor: int) -> None:
    modality = event(size).with_settings({"sensor_height": sensor, "sensor_width": sensor})
    x = preprocess_clips(modality, events)
    assert x.shape == (1, 3, size, size)
    modality.input.check(x)
    assert np.array_equal(x, np.rint(x * 255) / np.float32(255))


@ARRAYS
@given(events=recordings())
def test_the_picture_is_the_share_of_events_at_each_pixel(events: NDArray[np.float64]) -> None:
    counts: dict[tuple[int, int, bool], int] = {}
    for _, x, y, p in events.astype(int).tolist():
        counts[y, x, p > 0] = counts.get((y, x, p > 0), 0) + 1
    ordered = sorted(counts.values())
    at = 0.99 * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    full_scale = low + (high - low) * (at - math.floor(at))
    expected = np.zeros((3, 41, 41))
    for (y, x, on), count in counts.items():
        expected[0 if on else 2, y, x] = min(count / full_scale, 1)
    expected[1] = np.minimum(expected[0] + expected[2], 1)
    modality = event(41).with_settings({"sensor_height": 41, "sensor_width": 41})
    assert np.abs(preprocess(modality, [events])[0] - expected).max() <= 0.51 / 255


@ARRAYS
@given(events=recordings(), shift=st.floats(-1e9, 1e9), seed=st.integers(0, 99))
def test_neither_the_clock_nor_the_order_of_events_matters(
    events: NDArray[np.float64], shift: float, seed: int
) -> None:
    other = np.random.default_rng(seed).permutation(events)
    other[:, 0] += shift
    modality = event(16).with_settings({"assume_units": "yes"})
    assert np.array_equal(preprocess(modality, [events]), preprocess(modality, [other]))


def test_a_hot_pixel_does_not_dim_the_scene() -> None:
    scene = columns(sweep())
    hot = np.tile([1e6, 3, 3, 1], (5000, 1))
    modality = event(16).with_settings({"sensor_height": 32, "sensor_width": 40})
    clean, dirty = preprocess(modality, [scene, np.concatenate([scene, hot])])
    assert dirty.mean() > 0.9 * clean.mean()


def test_both_conventions_of_polarity_agree() -> None:
    signed = columns(sweep())
    signed[:, 3] = 2 * signed[:, 3] - 1
    assert np.array_equal(preprocess(event(16), [sweep()]), preprocess(event(16), [signed]))


@pytest.mark.parametrize("layout", ["group", "root", "CD/events", "events"])
def test_hdf5_layouts_agree_with_npy(layout: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "events.h5", "w") as file:
        if layout in ("CD/events", "events"):
            file.create_dataset(layout, data=sweep(), compression="gzip")
        else:
            group = file.create_group("events") if layout == "group" else file
            for name in "txyp":
                group.create_dataset(name, data=sweep()[name], chunks=True, compression="lzf")
    np.save(tmp_path / "events.npy", sweep())
    frames = [read_frame(tmp_path / name, event(16)) for name in ("events.h5", "events.npy")]
    assert np.array_equal(*frames)


def test_hdf5_does_not_reach_into_other_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["events"] = columns(sweep())
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["events"] = h5py.ExternalLink("other.h5", "/events")
    (tmp_path / "secret").write_bytes(bytes(4000))
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("events", (100, 4), "f8", external=[(str(tmp_path / "secret"), 0, 3200)])
    with refused("expected datasets t, x, y, p"):
        read_frame(tmp_path / "link.h5", event(8))
    with refused("other files"):
        read_frame(tmp_path / "raw.h5", event(8))


def test_hdf5_that_claims_a_trillion_events_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("events", (10**12, 4), "f8", chunks=(1024, 4))
    with refused("1,000,000,000,000 events"):
        read_frame(tmp_path / "bomb.h5", event(8))


def test_a_missing_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "events.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DependencyError, match="h5py") as refusal:
        read_frame(tmp_path / "events.h5", event(8))
    assert "sensors" in str(refusal.value.hint)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.zeros((0, 4)), "0 events"),
        (np.zeros((9, 3)), r"\(9, 3\)"),
        (np.zeros((4, 9)), r"\(4, 9\)"),
        (np.zeros(5, [("t", "f8"), ("x", "u2")]), r"\(5,\)"),
        (np.full((2, 4), "a"), r"<U1"),
        ([[0, 5, 3, 1], [1, -1, 3, 1]], r"spans \[-1, 5\] in x"),
        ([[0, 5, 99, 1]], r"spans \[99, 99\] in y; expected pixels of the sensor, 0 to 31"),
        ([[0, np.nan, 3, 1]], r"spans \[nan, nan\] in x"),
        ([[0, 1.5, 3, 1]], "fractions in x"),
        ([[np.inf, 1, 3, 1]], "infinite times"),
        ([[0, 1, 3, 2]], "polarities 2"),
        ([[0, 1, 3, -1], [0, 1, 3, 0]], "polarities -1, 0"),
        ([[0, 1, 3, np.nan]], "polarities nan"),
    ],
)
def test_what_is_no_recording_is_refused(rows: Any, found: str, tmp_path: Path) -> None:
    np.save(tmp_path / "events.npy", np.asarray(rows))
    modality = event(8).with_settings({"sensor_height": 32, "sensor_width": 40})
    with refused(found) as refusal:
        read_frame(tmp_path / "events.npy", modality)
    assert "events.npy` " in refusal.value.message


def test_coordinates_of_an_impossible_sensor_allocate_nothing() -> None:
    with refused("span 60001 x 60001 pixels"):
        preprocess(event(8).with_settings({"assume_units": "yes"}), [np.array([[0, 60_000, 60_000, 1.0]])])


@pytest.mark.parametrize("side", [-1, 0.5, 70_000])
def test_an_impossible_sensor_is_a_mistake_in_the_settings(side: float) -> None:
    with pytest.raises(ConfigError, match="sensor"):
        preprocess(event(8).with_settings({"sensor_width": side}), [sweep()])


@settings(deadline=None, max_examples=60)
@given(head=st.sampled_from([b"", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY\x01\x00"]), body=st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_an_input_error(
    head: bytes, body: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(head + body)
    with refused("bytes"):
        read_frame(path, event(8))


@settings(deadline=None, max_examples=100)
@given(damage=st.dictionaries(st.integers(0, 10_000), st.integers(0, 255), max_size=8), keep=st.floats(0.1, 1))
def test_damaged_hdf5_is_read_or_refused(
    damage: dict[int, int], keep: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file[f"events/{name}"] = sweep(60)[name]
    data = bytearray(path.read_bytes())
    for at, value in damage.items():
        data[at % len(data)] = value
    path.write_bytes(data[: max(8, int(keep * len(data)))])
    with taken_or_refused():
        preprocess(event(8), [read_frame(path, event(8))])
