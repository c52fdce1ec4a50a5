"""Clouds become even samples in the unit sphere; files of clouds are read whole or refused in words."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.probe import from_levels
from advcal_edge.runtime.sensors import preprocess, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.files.pcd import decompress
from advcal_edge.spec import point

GOLDEN = Path(__file__).parent / "golden"
ARRAYS = settings(deadline=None, max_examples=60)
GRID = 2 / 65535


def torus(count: int = 300, seed: int = 0) -> NDArray[np.float32]:
    """Points on a torus that stands off the origin, denser on one side, as a scanner sees it."""
    rng = np.random.default_rng(seed)
    around, across = rng.beta(2, 3, count) * 2 * np.pi, rng.uniform(0, 2 * np.pi, count)
    ring = 2 + 0.6 * np.cos(across)
    cloud = np.stack([ring * np.cos(around), ring * np.sin(around), 0.6 * np.sin(across)], axis=1)
    return (cloud + np.array([5, -3, 1])).astype(np.float32)


def write_ply(
    path: Path, cloud: NDArray[Any], *, text: bool = False, order: str = "<", faces: int = -1, before: bool = False
) -> None:
    """By the letter of the format: vertices among other properties, and triangles and quadrangles by turns."""
    encoding = "ascii" if text else {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    rows = [(float(x), 200, float(y), float(z)) for x, y, z in cloud]
    corners = [(3 + index % 2, *range(3 + index % 2)) for index in range(faces)]
    vertex = (
        f"element vertex {len(rows)}\nproperty float x\nproperty uchar red\nproperty float y\nproperty float z\n",
        "\n".join(" ".join(map(repr, row)) for row in rows).encode() + b"\n"
        if text
        else b"".join(struct.pack(f"{order}fBff", *row) for row in rows),
    )
    face = (
        f"element face {faces}\nproperty list uchar int vertex_indices\n",
        "".join(" ".join(map(str, row)) + "\n" for row in corners).encode()
        if text
        else b"".join(struct.pack(f"{order}B{row[0]}i", *row) for row in corners),
    )
    elements = [vertex] if faces < 0 else [face, vertex] if before else [vertex, face]
    header = f"ply\nformat {encoding} 1.0\ncomment made by hand\n{''.join(head for head, _ in elements)}end_header\n"
    path.write_bytes(header.encode() + b"".join(body for _, body in elements))


def lzf(data: bytes) -> bytes:
    """Compressed by liblzf itself, which HDF5 carries."""
    with h5py.File("cloud", "w", driver="core", backing_store=False) as file:
        values = np.frombuffer(data, np.uint8)
        dataset = file.create_dataset("x", data=values, chunks=values.shape, compression="lzf")
        return bytes(dataset.id.read_direct_chunk((0,))[1])


def write_pcd(path: Path, cloud: NDArray[Any], encoding: str) -> None:
    points = np.zeros(len(cloud), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2"), ("normal", "<f4", 2)])
    for axis, name in enumerate("xyz"):
        points[name] = cloud[:, axis]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z ring normal\nSIZE 4 4 4 2 4\n"
        f"TYPE F F F U F\nCOUNT 1 1 1 1 2\nWIDTH {len(cloud)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(cloud)}\nDATA {encoding}\n"
    )
    body = points.tobytes()
    if encoding == "ascii":
        rows = [[*row[:3], int(row[3]), *row[4]] for row in points.tolist()]
        body = "\n".join(" ".join(repr(value) for value in row) for row in rows).encode()
    if encoding == "binary_compressed":
        fields = b"".join(np.ascontiguousarray(points[name]).tobytes() for name in points.dtype.names or ())
        packed = lzf(fields)
        body = struct.pack("<II", len(packed), len(fields)) + packed
    path.write_bytes(header.encode() + body)


def assert_legal(x: NDArray[np.float32], count: int) -> None:
    point(count).input.check(x)
    levels = np.rint((x.astype(np.float64) + 1) / 2 * 65535).astype(np.uint16)
    assert np.array_equal(from_levels(levels, point(count).input), x), "off the 16-bit grid"


def farthest_reference(cloud: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Brute force over all pairs: the next point has the largest distance to its nearest chosen one."""
    pairs = np.linalg.norm(cloud[:, None] - cloud[None], axis=2)
    chosen = [int(np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).argmax())]
    while len(chosen) < count:
        chosen.append(int(pairs[:, chosen].min(axis=1).argmax()))
    return cloud[chosen]


@pytest.mark.parametrize("name", ["point.ply", "point.pcd"])
def test_golden_file(name: str) -> None:
    """Both files hold `torus()`, binary and compressed; `point.npz` the sample they gave on x86-64 in 16-bit levels."""
    frame = read_frame(GOLDEN / name, point(64))
    assert np.array_equal(frame, torus())
    with np.load(GOLDEN / "point.npz") as golden:
        expected = from_levels(golden["x"], point(64).input)
    assert np.abs(preprocess(point(64), [frame])[0] - expected).max() <= GRID * 1.01  # sums may round otherwise


@ARRAYS
@given(data=st.data(), count=st.sampled_from([1, 5, 64]))
def test_any_cloud_becomes_a_legal_sample_on_the_grid(data: st.DataObject, count: int) -> None:
    shape = (data.draw(st.integers(16, 90)), data.draw(st.integers(3, 6)))
    values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf])
    cloud = data.draw(hnp.arrays(st.sampled_from(["float32", "float64"]), shape, elements=values))
    cloud[:16, :3] = np.arange(48).reshape(16, 3) ** 2
    x = preprocess_clips(point(count), cloud)
    assert x.shape == (1, count, 3)
    assert_legal(x, count)


@pytest.mark.parametrize("count", [2, 50, 300])
def test_sampling_and_scaling_agree_with_brute_force(count: int) -> None:
    expected = farthest_reference(torus().astype(np.float64), count)
    expected -= expected.mean(axis=0)
    expected /= max(np.linalg.norm(row) for row in expected)
    assert np.abs(preprocess(point(count), [torus()])[0] - expected).max() <= GRID


@ARRAYS
@given(
    shift=hnp.arrays("float64", 3, elements=st.floats(-100, 100)), scale=st.floats(0.01, 100), seed=st.integers(0, 99)
)
def test_place_scale_and_order_do_not_matter(shift: NDArray[np.float64], scale: float, seed: int) -> None:
    cloud = torus().astype(np.float64)
    moved = np.random.default_rng(seed).permutation(cloud) * scale + shift
    assert np.abs(preprocess(point(40), [moved]) - preprocess(point(40), [cloud])).max() <= GRID * 1.01


def test_the_sample_fills_the_unit_sphere_about_its_centroid() -> None:
    x = preprocess(point(128), [torus(5000)])[0].astype(np.float64)
    assert np.linalg.norm(x, axis=1).max() == pytest.approx(1, abs=GRID)
    assert np.abs(x.mean(axis=0)).max() < GRID


def test_a_sample_covers_what_was_scanned_thinly() -> None:
    dense = np.random.default_rng(0).normal(0, 0.01, (5000, 3))
    cloud = np.concatenate([dense, [[10, 0, 0], [0, 10, 0], [0, 0, 10], [-10, 0, 0]]])
    x = preprocess(point(8), [cloud])[0]
    assert (np.linalg.norm(x - x.mean(axis=0), axis=1) > 0.5).sum() == 4


def test_few_points_are_repeated_in_turn() -> None:
    x = preprocess(point(50), [torus(20)])[0]
    assert np.array_equal(x[:20], x[20:40])
    assert np.array_equal(x[:10], x[40:])
    assert len(np.unique(x, axis=0)) == 20


def test_points_without_a_return_are_dropped() -> None:
    holes = np.insert(torus(), [0, 7, 7], np.nan, axis=0)
    assert np.array_equal(preprocess(point(32), [holes]), preprocess(point(32), [torus()]))


def test_huge_clouds_are_thinned_the_same_way_each_time() -> None:
    cloud = torus(200_000)
    first, second = preprocess(point(64), [cloud, cloud.copy()])
    assert np.array_equal(first, second)
    assert_legal(first[None], 64)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("faces", [-1, 0, 1, 7])
@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_ply_files_of_every_kind(text: bool, order: str, faces: int, before: bool, tmp_path: Path) -> None:
    write_ply(tmp_path / "cloud.ply", torus(), text=text, order=order, faces=faces, before=before)
    assert np.array_equal(read_frame(tmp_path / "cloud.ply", point(8)), torus())


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("uneven", [False, True])
def test_lists_within_vertices(encoding: str, uneven: bool, tmp_path: Path) -> None:
    header = (
        f"ply\nformat {encoding} 1.0\nelement vertex 300\nproperty double x\nproperty list ushort short neighbours\n"
        "property float64 y\nproperty list uint8 float weights\nproperty double z\nend_header\n"
    )
    order = ">" if "big" in encoding else "<"
    body = b""
    for index, (x, y, z) in enumerate(torus().tolist()):
        count = 2 + (uneven and index % 3)
        row = (x, count, *range(count), y, 1, 0.5, z)
        text = " ".join(map(repr, row)) + "\n"
        body += text.encode() if encoding == "ascii" else struct.pack(f"{order}dH{count}hdBfd", *row)
    (tmp_path / "cloud.ply").write_bytes(header.encode() + body)
    assert np.array_equal(read_frame(tmp_path / "cloud.ply", point(8)), torus())


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_ply_agrees_with_trimesh(text: bool, order: str, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="the reference for .ply files is not installed")
    write_ply(tmp_path / "ours.ply", torus(), text=text, order=order, faces=1)
    with (tmp_path / "ours.ply").open("rb") as file:
        theirs = trimesh.exchange.ply.load_ply(file)["vertices"]
    assert np.array_equal(read_frame(tmp_path / "ours.ply", point(8)), theirs)
    mesh = trimesh.Trimesh(torus(), [[0, 1, 2], [2, 3, 4]], process=False)
    (tmp_path / "theirs.ply").write_bytes(mesh.export(file_type="ply", encoding="ascii" if text else "binary"))
    assert np.abs(np.asarray(read_frame(tmp_path / "theirs.ply", point(8))) - torus()).max() < (1e-5 if text else 1e-12)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_pcd_files_of_every_kind(encoding: str, tmp_path: Path) -> None:
    write_pcd(tmp_path / "cloud.pcd", torus(), encoding)
    assert np.array_equal(read_frame(tmp_path / "cloud.pcd", point(8)), torus())


def test_npy_files_with_intensity(tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", np.column_stack([torus(), np.ones(300)]))
    assert np.array_equal(read_frame(tmp_path / "cloud.npy", point(8)), torus())


@ARRAYS
@given(seed=st.integers(0, 999), size=st.integers(200, 3000), symbols=st.integers(1, 255))
def test_lzf_is_undone(seed: int, size: int, symbols: int) -> None:
    data = np.random.default_rng(seed).integers(0, symbols, size // 4, dtype=np.uint8).tobytes() * 4
    assert decompress(lzf(data), len(data)) == data


@ARRAYS
@given(data=st.binary(max_size=60), size=st.integers(0, 300))
def test_broken_lzf_raises_a_value_error(data: bytes, size: int) -> None:
    with contextlib.suppress(ValueError):
        assert len(decompress(data, size)) == size


@pytest.mark.parametrize(
    ("cloud", "found"),
    [
        (np.zeros((0, 3)), "0 points apart from 0 holes"),
        (torus(15), "15 points apart from 0 holes"),
        (np.full((99, 3), np.nan), "0 points apart from 99 holes"),
        (np.full((99, 3), 7.0), "99 points in one place"),
        (np.zeros((99, 2)), r"\(99, 2\)"),
        (torus().T, r"float32 \(3, 300\)"),
        (np.zeros((64, 64), np.uint8), r"uint8 \(64, 64\)"),
        (np.zeros((9, 9, 3)), "0 points apart from 81 holes"),
        (np.ones((9, 9, 3), np.uint8), r"uint8 \(9, 9, 3\)"),
        (np.ones((3, 90, 90)), r"\(3, 90, 90\)"),
        (torus().astype(np.complex64), "complex64"),
        (torus().astype(np.float64) * 1e200, "reaches out to"),
    ],
)
def test_what_is_no_cloud_is_refused(cloud: NDArray[Any], found: str, tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", cloud)
    with refused(found) as refusal:
        read_frame(tmp_path / "cloud.npy", point(8))
    assert "cloud.npy` " in refusal.value.message


PLY = "ply\nformat {kind} 1.0\nelement vertex {count}\nproperty float x\nproperty float {last}\nend_header\n1 2\n"
XYZ = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
PCD = (
    "VERSION 0.7\nFIELDS x y {last}\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {count}\nHEIGHT 1\nDATA {kind}\n1 2 3\n"
)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (PLY.format(kind="ascii", count=10**12, last="y"), "vertex`, has 1,000,000,000,000 points"),
        (PLY.format(kind="ascii", count=10**6, last="y"), "bytes claim 1000000 rows"),
        (PLY.format(kind="binary_little_endian", count=30, last="y"), "bytes claim 30 rows"),
        (PLY.format(kind="ascii", count=1, last="w"), "no readable .ply file of points x, y, z"),
        (PLY.format(kind="ascii", count=-1, last="y"), "`-1` is no whole number"),
        (
            "ply\ncomment end_header\n" + PLY.format(kind="ascii", count=10**12, last="y")[4:],
            "1,000,000,000,000 points",
        ),
        (
            "ply\nformat ascii 1.0\n  element vertex 1000000000000\n  property float x\nend_header\n",
            "1,000,000,000,000 points",
        ),
        ("ply\n", "no end_header"),
        (PLY.format(kind="ascii", count=1, last="y").replace("1 2", "1 2 3"), "expected x, y and z"),
        (PLY.format(kind="text", count=1, last="y"), "its format is none of"),
        (PLY.format(kind="ascii", count="9" * 5000, last="y"), "is no whole number"),
        (PLY.format(kind="ascii", count=1, last="y").replace("vertex", "face"), "no element `vertex`"),
        ("ply\nformat ascii 1.0\nelement vertex\nend_header\n", "no readable .ply"),
        ("ply\nformat ascii 1.0\nproperty float x\nend_header\n", "a property without an element"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty list float int x\nend_header\n1\n", "none of this format"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty half x\nend_header\n1\n", "`property half x` is none"),
        (XYZ + "1 2 3\n4 5 6\n7.25 8.25\n", "a vertex has 2 numbers; expected 3"),
        (XYZ + "1 2 3\n4 5 6\n", "holds 2 vertices; expected 3|claim 3 rows"),
        (XYZ + "1 2 3\n4 5 6\n7 8 " + "9" * 70000 + "\n", "a line of more than 65536 bytes"),
        (PCD.format(kind="binary", count=10**12, last="z"), "has 1,000,000,000,000 points"),
        (PCD.format(kind="binary", count=10**6, last="z"), "expected 12000000"),
        (PCD.format(kind="binary_compressed", count=10**6, last="z"), "no readable .pcd"),
        (PCD.format(kind="ascii", count=2, last="z"), "holds 1 points; expected 2"),
        (PCD.format(kind="ascii", count=1, last="w"), "fields are x, y, w"),
        (PCD.format(kind="zip", count=1, last="z"), "DATA is zip"),
        (PCD.format(kind="ascii", count=0, last="z"), "claims 0 points"),
        (PCD.format(kind="ascii", count="9" * 3000, last="z"), "is no whole number"),
        (PCD.format(kind="ascii", count=1, last="z").replace("COUNT 1", "COUNT 999999"), "more than 4096 values"),
        (PCD.format(kind="ascii", count=1, last="z").replace("SIZE 4", "SIZE 3"), "no readable .pcd"),
        ("VERSION 0.7\nDATA ascii\n", "no FIELDS"),
        ("VERSION 0.7\n", "no line DATA"),
        ("solid\nfacet normal 0 0 1\n", "is a mesh in STL"),
        ("nothing known\n", "none of the formats ply, pcd, las"),
    ],
)
def test_hostile_and_broken_files_are_refused(content: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "cloud").write_text(content)
    with refused(found) as refusal:
        read_frame(tmp_path / "cloud", point(8))
    assert "cloud`" in refusal.value.message


def test_a_compressed_block_may_not_unpack_to_more_than_its_points(tmp_path: Path) -> None:
    write_pcd(tmp_path / "cloud.pcd", torus(), "binary_compressed")
    data = (tmp_path / "cloud.pcd").read_bytes()
    bomb = data.replace(struct.pack("<I", 300 * 22), struct.pack("<I", 2**32 - 1))
    (tmp_path / "cloud.pcd").write_bytes(bomb)
    with refused("4294967295"):
        read_frame(tmp_path / "cloud.pcd", point(8))


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(["ascii.ply", "binary.ply", "faces.ply", "ascii", "binary", "binary_compressed"]),
    damage=st.dictionaries(st.integers(0, 700), st.integers(0, 255), max_size=6),
    keep=st.floats(0, 1),
)
def test_damaged_files_are_read_or_refused(
    kind: str, damage: dict[int, int], keep: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.point"
    if kind.endswith(".ply"):
        write_ply(path, torus(20), text=kind == "ascii.ply", faces=5 if kind == "faces.ply" else -1)
    else:
        write_pcd(path, torus(20), kind)
    data = bytearray(path.read_bytes())
    for at, value in damage.items():
        data[at % len(data)] = value
    path.write_bytes(data[: int(keep * len(data))])
    with taken_or_refused():
        preprocess(point(8), [read_frame(path, point(8))])
