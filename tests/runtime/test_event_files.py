"""Events in the files of N-Caltech101 and N-ImageNet; what claims too much or is cut off is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mutations import mutated, mutated_zip, outcome
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.spec import event

TABLE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
"""The dtype of N-ImageNet."""


def some(count: int = 200, seed: int = 0, height: int = 180, width: int = 240) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    events = np.zeros(count, TABLE)
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["t"], events["p"] = np.sort(rng.integers(0, 2**23, count)), rng.integers(0, 2, count)
    return events


def atis(events: NDArray[Any]) -> bytes:
    """By the letter of the format: x, y, polarity in bit 23 of 24, microseconds below it, highest byte first."""
    rows = zip(events["x"].tolist(), events["y"].tolist(), events["p"].tolist(), events["t"].tolist(), strict=True)
    return b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in rows)


def assert_read(path: Path, events: NDArray[Any]) -> None:
    found = read_frame(path, event(8))
    for name in "xytp":
        assert np.array_equal(found[name], events[name]), name


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 80), seed=st.integers(0, 999))
def test_atis_comes_back(count: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "image_0001.bin"
    path.write_bytes(atis(some(count, seed)))
    assert_read(path, some(count, seed))


def test_an_event_below_the_sensor_is_a_clock_that_ran_over(tmp_path: Path) -> None:
    events = some(9)
    events["t"] = 5
    events["y"][[3, 6]] = 240
    (tmp_path / "a.bin").write_bytes(atis(events))
    found = read_frame(tmp_path / "a.bin", event(8))
    assert found["t"].tolist() == [5, 5, 5, 5 + 2**13, 5 + 2**13, 5 + 2**14, 5 + 2**14]


@pytest.mark.parametrize("kind", ["bin", "npz", "npy"])
def test_time_that_falls_is_refused(kind: str, tmp_path: Path) -> None:
    events, path = some()[::-1], tmp_path / f"a.{kind}"
    if kind == "bin":
        path.write_bytes(atis(events))
    else:
        np.savez(path, event_data=events) if kind == "npz" else np.save(path, events)
    with refused("in row 2 follows") as refusal:
        read_frame(path, event(8))
    assert "argsort" in str(refusal.value.hint)
    assert len(read_frame(path, event(8).with_settings({"assume_units": "yes"}))) == len(events)


def test_atis_is_known_by_its_name_alone(tmp_path: Path) -> None:
    for name in ("a.bin", "a.BIN"):
        (tmp_path / name).write_bytes(atis(some()))
        assert_read(tmp_path / name, some())
    (tmp_path / "a.dat").write_bytes(atis(some()))
    with refused("none of the formats npy, npz, HDF5, text"):
        read_frame(tmp_path / "a.dat", event(8))
    (tmp_path / "a.bin").write_bytes(atis(some())[:-1])
    with refused("999 bytes; expected events of 5 bytes"):
        read_frame(tmp_path / "a.bin", event(8))
    (tmp_path / "a.bin").write_bytes(bytes([0, 240, 0, 0, 0]))
    with refused("holds 0 events"):
        read_frame(tmp_path / "a.bin", event(8))


@pytest.mark.parametrize("packed", [False, True])
def test_npz_of_every_layout(packed: bool, tmp_path: Path) -> None:
    events, path = some(height=480, width=640), tmp_path / "a.npz"
    save = np.savez_compressed if packed else np.savez
    columns = {name: events[name] for name in "xytp"}
    names = {"x": "x_pos", "y": "y_pos", "t": "timestamp", "p": "polarity"}
    for arrays in (
        {"event_data": events},
        {"event_data": np.stack([column.astype(np.float64) for column in columns.values()], axis=1)},
        columns,
        {names[name]: column for name, column in columns.items()},
    ):
        save(path, **arrays)
        assert_read(path, events)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"events": np.zeros((3, 4))}, "holds events; expected"),
        ({"event_data": np.zeros(3)}, r"float64 \(3,\)"),
        ({"event_data": np.array(3.0)}, r"float64 \(\)"),
        ({"event_data": np.zeros((3, 5))}, r"float64 \(3, 5\)"),
        ({"event_data": np.array([None, {}], object)}, "Python objects"),
        ({"x": np.zeros(3), "y": np.zeros(3), "t": np.zeros(2), "p": np.zeros(3)}, "columns of different lengths"),
        ({"x": np.zeros((3, 1)), "y": np.zeros((3, 1)), "t": np.zeros((3, 1)), "p": np.zeros((3, 1))}, "different"),
        ({"event_data": np.full((3, 4), 7.0)}, "polarities 7"),
    ],
)
def test_other_archives_are_refused(arrays: dict[str, NDArray[Any]], found: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with refused(found):
        read_frame(tmp_path / "a.npz", event(8))


def test_too_many_events_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", event_data=some())
    (tmp_path / "a.bin").write_bytes(atis(some()))
    monkeypatch.setenv("ADVCAL_MAX_EVENTS", "199")
    for name in ("a.npz", "a.bin"):
        with refused("has 200 events; expected at most 199"):
            read_frame(tmp_path / name, event(8))


@settings(deadline=None, max_examples=100)
@given(data=st.data(), kind=st.sampled_from(["bin", "npz"]))
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    if kind == "bin":
        path.write_bytes(data.draw(mutated(atis(some(20)))))
    else:
        np.savez_compressed(path, event_data=some(20))
        path.write_bytes(data.draw(mutated_zip(path.read_bytes())))
    outcome(lambda path: read_frame(path, event(8)), path, InputError)
