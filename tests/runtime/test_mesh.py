"""Meshes become points of their surface; text becomes points; what is neither is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mutations import mutated, outcome
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.runtime.sensors.point import SURFACE
from advcal_edge.spec import point

CORNERS = np.array([[x, y, z] for x in (0, 2) for y in (0, 1) for z in (0, 1)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
"""A box of 2 x 1 x 1: two faces of area 1 across x, four of area 2."""


def write_off(path: Path, header: str = "OFF\n8 6 12\n", corners: NDArray[Any] = CORNERS, colour: str = "") -> Path:
    rows = "".join(" ".join(map(repr, row)) + "\n" for row in corners.tolist())
    path.write_text(header + rows + "".join(f"4 {a} {b} {c} {d}{colour}\n" for a, b, c, d in QUADS))
    return path


def write_obj(path: Path, corner: str = "{0}", head: str = "", back: bool = False) -> Path:
    rows = "".join("v " + " ".join(map(repr, row)) + "\n" for row in CORNERS.tolist())
    quads = [[index - 8 if back else index + 1 for index in quad] for quad in QUADS]
    faces = "".join("f " + " ".join(corner.format(index) for index in quad) + "\n" for quad in quads)
    path.write_text(f"{head}{rows}vn 0 0 1\nvt 0 0\nusemtl grey\n{faces}")
    return path


def assert_on_the_box(points: NDArray[Any]) -> None:
    assert points.shape == (SURFACE, 3)
    sides = np.array([2, 1, 1])
    across = [(np.isclose(points[:, axis], 0) | np.isclose(points[:, axis], sides[axis])).mean() for axis in range(3)]
    np.testing.assert_allclose(across, [0.2, 0.4, 0.4], atol=0.02)  # by area
    np.testing.assert_allclose(points.mean(axis=0), sides / 2, atol=0.03)


@pytest.mark.parametrize("header", ["OFF\n8 6 12\n", "OFF8 6 12\n", "OFF 8 6 0\n", "OFF\n# by hand\n\n8 6\n"])
def test_off(header: str, tmp_path: Path) -> None:
    assert_on_the_box(read_frame(write_off(tmp_path / "box", header), point(64)))


@pytest.mark.parametrize("colour", [" 255 0 0", " 0.5 0.5 0.5 1"])
def test_colours_are_ignored(colour: str, tmp_path: Path) -> None:
    coloured = np.hstack([CORNERS, np.ones((8, 4))])
    first = read_frame(write_off(tmp_path / "a", corners=coloured, colour=colour), point(64))
    assert np.array_equal(first, read_frame(write_off(tmp_path / "b"), point(64)))


@pytest.mark.parametrize("corner", ["{0}", "{0}/1", "{0}/1/1", "{0}//1"])
@pytest.mark.parametrize("head", ["", "# by hand\nmtllib box.mtl\no box\n"])
@pytest.mark.parametrize("back", [False, True])
def test_obj(corner: str, head: str, back: bool, tmp_path: Path) -> None:
    assert_on_the_box(read_frame(write_obj(tmp_path / "box", corner, head, back), point(64)))


def test_obj_under_a_long_comment_is_known_by_its_name(tmp_path: Path) -> None:
    comment = "# " + "by hand " * 60 + "\n"
    assert_on_the_box(read_frame(write_obj(tmp_path / "box.OBJ", head=comment), point(64)))
    with refused("none of the formats"):
        read_frame(write_obj(tmp_path / "box", head=comment), point(64))


def test_the_same_points_each_time_and_as_many_as_asked_for(tmp_path: Path) -> None:
    write_off(tmp_path / "off")
    write_obj(tmp_path / "obj")
    first = read_frame(tmp_path / "off", point(64))
    assert np.array_equal(first, read_frame(tmp_path / "off", point(64)))
    assert np.array_equal(first, read_frame(tmp_path / "obj", point(64)))
    large = point(SURFACE + 5)
    assert len(read_frame(tmp_path / "off", large)) == SURFACE + 5
    x = preprocess(point(64), [first])[0]
    assert len(np.unique(x, axis=0)) == 64


def test_off_and_obj_agree_with_trimesh(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="the reference for meshes is not installed")
    mesh = trimesh.creation.icosphere(subdivisions=2)
    for kind in ("off", "obj"):
        (tmp_path / f"ball.{kind}").write_text(mesh.export(file_type=kind))
        cloud = np.asarray(read_frame(tmp_path / f"ball.{kind}", point(64)))
        radii = np.linalg.norm(cloud, axis=1)
        assert np.linalg.norm(mesh.triangles_center, axis=1).min() - 1e-6 < radii.min()
        assert 0.98 < radii.mean() < radii.max() < 1 + 1e-6


@pytest.mark.parametrize("separator", [",", " ", ", ", "\t"])
@pytest.mark.parametrize("columns", [3, 6, 7])
def test_text(separator: str, columns: int, tmp_path: Path) -> None:
    cloud = np.random.default_rng(0).normal(size=(50, columns)).round(6)
    (tmp_path / "cloud").write_text("\n".join(separator.join(map(repr, row)) for row in cloud.tolist()))
    assert np.array_equal(read_frame(tmp_path / "cloud", point(8)), cloud[:, :3])


OFF = "OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("OFF\n8 6 12\n", "claim 8 vertices and 6 faces"),
        ("OFF\n", "no numbers of vertices"),
        ("OFF4\n", "no numbers of vertices"),
        ("OFF-4 2 0\n", "`-4` is no whole number"),
        ("OFF999999999999999 2 0\n", "points; expected at most"),
        ("OFF4 999999999999999 0\n", "triangles; expected at most"),
        (OFF, "34 bytes claim 4 vertices and 2 faces"),
        (OFF + "# " + "cut off " * 9, "holds 0 faces; expected 2"),
        (OFF + "3 0 1 2\n", "holds 1 faces; expected 2"),
        (OFF + "3 0 1\n3 0 1 2\n", "face 1 has 2 corners"),
        (OFF + "3 0 1 4\n3 0 1 2\n", "the corner 4, counted from 0; it has 4 vertices"),
        (OFF + "3 0 1 -1\n3 0 1 2\n", "the corner -1"),
        (OFF + "3 0 1 99999999999\n3 0 1 2\n", "no readable .off"),
        (OFF + "2 0 1\n2 1 2\n", "it has no faces"),
        (OFF + "3 0 1 1\n3 2 2 2\n", "an area of 0"),
        (OFF.replace("1 0 0", "nan 0 0") + "3 0 1 2\n3 0 1 2\n", "an area of nan"),
        (OFF.replace("1 0 0", "1e300 0 0").replace("0 1 0", "0 1e300 0") + "3 0 1 2\n3 0 1 2\n", "an area of inf"),
        (OFF.replace("1 0 0", "1 0") + "3 0 1 2\n3 0 1 2\n", "no readable .off"),
        (OFF.replace("1 0 0", "x 0 0") + "3 0 1 2\n3 0 1 2\n", "no readable .off"),
        ("v 0 0 0\nf 1 2 3\n", "the corner 2, counted from 0; it has 1 vertices"),
        ("v 0 0 0\nf 0 1 1\n", "the corner 0; they count from 1"),
        ("v 0 0 0\nf -2 -1 -1\n", "the corner -1, counted from 0"),
        ("v 0 0\nf 1 1 1\n", "a vertex has 2 numbers"),
        ("v\nf 1 1 1\n", "a vertex has 0 numbers"),
        ("v a b c\n", "no readable .obj"),
        ("v 0 0 0\nf 1 b 1\n", "no readable .obj"),
        ("v 0 0 0\n", "it has no faces"),
        ("v 0 0 0\nf 1 1 99999999999\n", "no readable .obj"),
        ("1,2\n3,4\n", "first line has 2 words"),
        ("1,2,3\n4,5\n", "a line has 2 words, the first one 3"),
        ("1,2,3\n4,x,6\n", "no readable text of points"),
        ("1,2,3\n4,,6\n", "no readable text of points"),
        ("1 2 3\n" * 3, "3 points apart from 0 holes"),
        ("7 columns\n", "first line has 2 words"),
        ("1 " * 40_000, "a line of more than 65536 bytes"),
    ],
)
def test_hostile_and_broken_files_are_refused(content: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "mesh").write_text(content)
    with refused(found) as refusal:
        read_frame(tmp_path / "mesh", point(8))
    assert "mesh`" in refusal.value.message


def test_too_many_triangles_and_points_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_off(tmp_path / "off")
    write_obj(tmp_path / "obj")
    monkeypatch.setenv("ADVCAL_MAX_TRIANGLES", "11")
    for name in ("off", "obj"):
        with refused("has 12 triangles; expected at most 11"):
            read_frame(tmp_path / name, point(8))
    monkeypatch.setenv("ADVCAL_MAX_POINTS", "7")
    for name in ("off", "obj"):
        with refused("has 8 points; expected at most 7"):
            read_frame(tmp_path / name, point(8))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), kind=st.sampled_from(["off", "obj", "txt"]))
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.mesh"
    if kind == "txt":
        path.write_text("\n".join(f"{k},{k * k % 7},{k % 3}" for k in range(20)))
    else:
        write_off(path) if kind == "off" else write_obj(path, "{0}/1/1")
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    outcome(lambda path: preprocess(point(8), [read_frame(path, point(8))]), path, InputError)
