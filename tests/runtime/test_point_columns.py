"""Which columns are x, y and z, and which points are none: declared, told by the file, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.spec import Modality, point

POINT = point(32)
TABLE = [("x", "<f4"), ("y", "<f4"), ("z", ">f4"), ("intensity", "u1"), ("ring", "<u2")]


def scan(lines: int = 60, seed: int = 0) -> NDArray[np.float64]:
    """What a spinning lidar of 16 lasers sees, (16 * lines, 3), in the order in which it sees it."""
    rng = np.random.default_rng(seed)
    around = np.linspace(0, 2 * np.pi, lines).repeat(16)
    up, far = np.tile(np.linspace(-0.4, 0.1, 16), lines), rng.uniform(3, 60, 16 * lines)
    return far[:, None] * np.stack([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], axis=1)


def x_of(cloud: object, modality: Modality = POINT) -> NDArray[np.float32]:
    return preprocess(modality, [cloud])  # type: ignore[list-item]


CLOUD = scan()
RING = np.tile(np.arange(16), 60)
ROWS = np.arange(960)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ([ROWS, CLOUD], "column 1 of frame 0 counts rows, from 0; expected the coordinate x"),
        ([ROWS + 1, CLOUD[:, :2]], "column 1 of frame 0 counts rows, from 1"),
        ([CLOUD[:, :2], ROWS, CLOUD[:, 2]], "column 3 of frame 0 counts rows, from 0; expected the coordinate z"),
        ([ROWS * 1e-4, CLOUD], "column 1 of frame 0 rises from row to row, from 0 to 0.0959, like time"),
        ([1.7e9 + ROWS * 1e-4, CLOUD], "rises from 1700000000 like stamps of a clock"),
        ([1.7e18 + 1e5 * ROWS, CLOUD[:, :2]], "like stamps of a clock"),
        ([RING, CLOUD], "holds whole numbers from 0 to 15, like those of a laser or a class"),
    ],
)
def test_what_is_no_coordinate_is_refused(columns: list[Any], found: str) -> None:
    table = np.column_stack(columns)
    with refused(found) as refusal:
        x_of(table)
    assert "--set input.columns=" in (refusal.value.hint or "")
    if np.abs(table).max() < 1e9:
        x_of(table, POINT.with_settings({"assume_units": "yes"}))


@pytest.mark.parametrize(
    "cloud",
    [
        np.column_stack([CLOUD, RING, ROWS]),
        CLOUD[np.argsort(CLOUD[:, 0])],
        np.column_stack([np.cos(ROWS), np.sin(ROWS), ROWS * 0.01]),  # a helix
        np.stack(np.meshgrid(np.arange(9), np.arange(9), np.arange(9)), axis=-1).reshape(-1, 3),
        np.column_stack([CLOUD[:, :2], np.zeros(960), RING]),  # of one plane
        np.rint(CLOUD * 1000).astype(np.int32),
        CLOUD.astype(np.float16),
    ],
)
def test_coordinates_are_not_refused(cloud: NDArray[Any]) -> None:
    assert np.array_equal(x_of(cloud), x_of(cloud[:, :3].astype(np.float64)))


def test_the_unit_does_not_matter() -> None:
    assert np.abs(x_of(CLOUD * 1000) - x_of(CLOUD)).max() <= 2 / 65535 * 1.01


def test_declared_columns(tmp_path: Any) -> None:
    declared = POINT.with_settings({"columns": "t,z,-,y,x"})
    table = np.column_stack([ROWS, CLOUD[:, 2], RING, CLOUD[:, 1], CLOUD[:, 0]])
    assert np.array_equal(x_of(table, declared), x_of(CLOUD))
    np.save(tmp_path / "cloud.npy", table)
    assert np.array_equal(read_frame(tmp_path / "cloud.npy", declared), CLOUD)
    assert np.array_equal(x_of(read_frame(tmp_path / "cloud.npy", declared), declared), x_of(CLOUD))
    with refused("expected the 5 columns of `input.columns`, t,z,-,y,x"):
        x_of(table[:, :4], declared)
    with pytest.raises(ConfigError, match="expected x, y and z, once each"):
        x_of(table, POINT.with_settings({"columns": "t,x,y,x"}))


def test_a_frame_that_was_read_is_not_turned_twice(tmp_path: Any) -> None:
    declared = POINT.with_settings({"columns": "z,y,x"})
    np.save(tmp_path / "cloud.npy", CLOUD[:, ::-1])
    assert np.array_equal(x_of(read_frame(tmp_path / "cloud.npy", declared), declared), x_of(CLOUD))
    assert np.array_equal(x_of(CLOUD[:, ::-1], declared), x_of(CLOUD))


def test_tables_and_organised_clouds_of_drivers() -> None:
    table = np.zeros(960, TABLE)
    table["x"], table["y"], table["z"], table["ring"] = *CLOUD.T, RING
    expected = x_of(CLOUD.astype(np.float32))
    for frame in (table, table.reshape(16, 60), np.stack([table["x"], table["y"], table["z"]], -1).reshape(16, 60, 3)):
        assert np.array_equal(x_of(frame), expected)
    holes = CLOUD.reshape(60, 16, 3).copy()
    holes[:3] = np.nan
    assert np.array_equal(x_of(holes), x_of(CLOUD[48:]))
    with refused("is a table of u, v; expected fields x, y and z"):
        x_of(np.zeros(99, [("u", "f4"), ("v", "f4")]))


def test_a_stack_of_clouds_is_not_one() -> None:
    clouds = np.stack([scan(seed=seed) for seed in range(4)])
    clouds -= clouds.mean(axis=1, keepdims=True)
    clouds /= np.linalg.norm(clouds, axis=2).max(axis=1)[:, None, None]
    with refused("4 clouds of the same radius"):
        x_of(clouds)
    assert len(preprocess(POINT, list(clouds))) == 4


@pytest.mark.parametrize("holes", [2, 20, 5000])
@pytest.mark.parametrize("invalid", ["", "origin", "0"])
def test_points_at_the_origin_are_holes(holes: int, invalid: str) -> None:
    """As NaN is; they would pull the centroid and may be the farthest point."""
    away = CLOUD * 0.01 + [0, 0, 9]
    spoilt = np.random.default_rng(0).permutation(np.vstack([away, np.zeros((holes, 3))]))
    declared = POINT.with_settings({"invalid": invalid})
    assert np.array_equal(x_of(spoilt, declared), x_of(spoilt[spoilt.any(axis=1)]))
    kept = x_of(spoilt, POINT.with_settings({"invalid": "nan"}))
    assert not np.array_equal(kept, x_of(spoilt, declared))


def test_a_place_like_others_is_no_hole() -> None:
    cells = np.random.default_rng(0).integers(-2, 3, (5000, 3))
    assert len(read(cells)) == 5000
    assert len(read(np.vstack([CLOUD, np.zeros((1, 3))]))) == 961


def read(cloud: NDArray[Any], **declared: str) -> NDArray[np.float64]:
    from advcal_edge.runtime.sensors.point import check_cloud

    return check_cloud(cloud, "frame", POINT.with_settings(declared))


@settings(max_examples=40, deadline=None)
@given(value=st.sampled_from([-1.0, 65535.0, 0.1, 1e30]), axis=st.integers(0, 2), seed=st.integers(0, 9))
def test_declared_values_are_holes(value: float, axis: int, seed: int) -> None:
    cloud = scan(seed=seed).astype(np.float32)
    spoilt = cloud.copy()
    rows = np.random.default_rng(seed).choice(len(cloud), 50, replace=False)
    spoilt[rows, axis] = value
    assert np.array_equal(read(spoilt, invalid=f"{value:g}"), np.delete(cloud, rows, axis=0))


def test_rows_of_telemetry_are_no_holes_of_clouds() -> None:
    with pytest.raises(ConfigError, match="rows:-2"):
        read(CLOUD, invalid="rows:-2")
