"""Files of clouds as lidars, surveys and tools write them, against numpy, laspy, plyfile and trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused, taken_or_refused
from test_point_columns import RING, scan

from advcal_edge.errors import DependencyError
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.runtime.sensors.files.foreign_points import FOREIGN
from advcal_edge.spec import Modality, point

POINT = point(32)
CLOUD = scan().astype(np.float32)
SHINE = np.random.default_rng(1).uniform(0, 1, 960).astype(np.float32)
KITTI, NUSCENES = "x,y,z,intensity", "x,y,z,intensity,ring"
FRONT = CLOUD + np.float32(70)
"""All coordinates above 0, where they could be intensities."""


def declared(columns: str, **more: str) -> Modality:
    return POINT.with_settings({"columns": columns, **more})


def write(path: Path, *columns: NDArray[Any], kind: str = "<f4") -> Path:
    path.write_bytes(np.column_stack(columns).astype(kind).tobytes())
    return path


@pytest.mark.parametrize("cloud", [CLOUD, FRONT, CLOUD[:20]], ids=["around", "front", "few"])
@pytest.mark.parametrize("most", [1, 255])
def test_scans_of_kitti_and_nuscenes(cloud: NDArray[Any], most: int, tmp_path: Path) -> None:
    shine, ring = SHINE[: len(cloud)] * most, RING[: len(cloud)]
    for path in (
        write(tmp_path / "000000.bin", cloud, shine),
        write(tmp_path / "sweep.pcd.bin", cloud, shine, ring),
        write(tmp_path / "sweep.bin", cloud, np.rint(shine), ring),
    ):
        assert np.array_equal(read_frame(path, POINT), cloud), path.name


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(30, 300),
    columns=st.sampled_from([4, 5]),
    shift=st.sampled_from([0.0, 40.0]),
)
def test_no_scan_is_read_with_a_wrong_number_of_columns(
    seed: int, rows: int, columns: int, shift: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    cloud = (rng.normal(size=(rows, 3)) * rng.uniform(0.1, 10, 3) + shift).astype(np.float32)
    more = [rng.uniform(0, 1, rows), rng.integers(0, 32, rows)][: columns - 3]
    path = write(tmp_path_factory.getbasetemp() / "any.bin", cloud, *more)
    with taken_or_refused():
        assert np.array_equal(read_frame(path, POINT), cloud)
    other = declared(NUSCENES if columns == 4 else KITTI)
    with refused("no scan of the declared columns"):
        read_frame(path, other)
    assert np.array_equal(read_frame(path, declared(KITTI if columns == 4 else NUSCENES)), cloud)


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([CLOUD], "<f4"),
        ([FRONT], "<f4"),
        ([CLOUD, SHINE, SHINE, RING], "<f4"),
        ([FRONT, SHINE, SHINE, RING], "<f4"),
        ([CLOUD, SHINE], "<f8"),
        ([CLOUD, SHINE], ">f4"),
        ([CLOUD * 1000, SHINE], "<i4"),
        ([CLOUD, SHINE * 65535], "<f4"),
    ],
)
def test_other_binary_files_are_refused(columns: list[Any], kind: str, tmp_path: Path) -> None:
    with refused("no scan as KITTI or nuScenes store it") as refusal:
        read_frame(write(tmp_path / "scan.bin", *columns, kind=kind), POINT)
    assert "--set input.columns=" in (refusal.value.hint or "")


def test_declared_columns_of_binary_files(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.bin", RING, FRONT[:, ::-1], SHINE * 65535)
    assert np.array_equal(read_frame(path, declared("ring,z,y,x,-")), FRONT)
    with refused("its values fall into (5|10) columns, not into 4"):
        read_frame(path, declared("x,y,z,-"))
    assert read_frame(path, declared("x,y,z,-", assume_units="yes")).shape == (1200, 3)  # type: ignore[union-attr]
    (tmp_path / "cut.bin").write_bytes(path.read_bytes()[:-3])
    with refused("expected rows of float32"):
        read_frame(tmp_path / "cut.bin", POINT)


HEADERS = [
    "", "x y z i\n", "// X Y Z R\n", "# made by hand\n# x y z intensity\n", "960\n", "\ufeffx[m] y[m] z[m] i\n",
    "#\n\n",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("between", [" ", ",", ";", "\t", ", "])
def test_text_with_and_without_names(header: str, between: str, tmp_path: Path) -> None:
    rows = "\n".join(between.join(map(repr, row)) for row in np.column_stack([CLOUD, SHINE]).astype(float).tolist())
    told = header if header.startswith("#") or " " not in header.strip() else header.replace(" ", between)
    told = told.replace(f"//{between}", "//")
    (tmp_path / "cloud.txt").write_text(f"{told}{rows}\n", encoding="utf-8")
    assert np.array_equal(read_frame(tmp_path / "cloud.txt", POINT), CLOUD)


def test_names_in_text_decide(tmp_path: Path) -> None:
    table: NDArray[np.float64] = np.column_stack([np.arange(960), np.round(CLOUD[:, ::-1].astype(np.float64), 4)])
    for names in ("stamp,z,y,x", '"stamp","Points_m_XYZ:2","Points_m_XYZ:1","Points_m_XYZ:0"'):
        np.savetxt(tmp_path / "cloud.csv", table, delimiter=",", header=names, comments="", fmt="%.9g")
        assert np.array_equal(read_frame(tmp_path / "cloud.csv", POINT), table[:, :0:-1])
    np.savetxt(tmp_path / "cloud.csv", table, delimiter=",", header="a,b,c,d", comments="", fmt="%.9g")
    with refused("expected numbers, or names of columns with x, y and z") as refusal:
        read_frame(tmp_path / "cloud.csv", POINT)
    assert "--set input.columns=" in (refusal.value.hint or "")
    assert np.array_equal(read_frame(tmp_path / "cloud.csv", declared("t,z,y,x")), table[:, :0:-1])
    with refused("has 4 columns; expected x,y,z,-,-"):
        read_frame(tmp_path / "cloud.csv", declared("x,y,z,-,-"))
    np.savetxt(tmp_path / "cloud.csv", table, delimiter=",", fmt="%.9g")
    with refused("column 1 of .* counts rows, from 0"):
        read_frame(tmp_path / "cloud.csv", POINT)


def test_text_that_ends_early(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "cloud.pts", CLOUD, header="961", comments="")
    with refused("holds 960 points; its first line says 961"):
        read_frame(tmp_path / "cloud.pts", POINT)


PCD = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 960\nHEIGHT 1\nPOINTS 960\nDATA ascii\n"


@pytest.mark.parametrize("first", ["", "# made by hand\n# x y z\n", "VERSION .5\n", f"# {'long ' * 60}\n"])
def test_headers_of_pcd(first: str, tmp_path: Path) -> None:
    rows = "\n".join(" ".join(map(repr, row)) for row in CLOUD.astype(float).tolist())
    (tmp_path / "cloud.pcd").write_text(f"{first}{PCD}{rows}\n")
    assert np.array_equal(read_frame(tmp_path / "cloud.pcd", POINT), CLOUD)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">", "="])
def test_ply_agrees_with_plyfile(kind: str, order: str, tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile", reason="a reference for .ply files is not installed")
    rows = np.zeros(960, [("intensity", "u1"), ("z", kind), ("y", kind), ("x", kind)])
    rows["x"], rows["y"], rows["z"] = CLOUD.T
    element = plyfile.PlyElement.describe(rows, "vertex")
    plyfile.PlyData([element], text=False, byte_order=order).write(str(tmp_path / "cloud.ply"))
    assert np.array_equal(read_frame(tmp_path / "cloud.ply", POINT), CLOUD)


@pytest.mark.parametrize("magic", FOREIGN)
def test_what_is_not_read_is_named(magic: bytes, tmp_path: Path) -> None:
    (tmp_path / "cloud.bin").write_bytes(magic + bytes(400))
    with refused(FOREIGN[magic][0].split("(")[0]) as refusal:
        read_frame(tmp_path / "cloud.bin", POINT)
    assert refusal.value.hint == FOREIGN[magic][1]


def write_las(path: Path, points: NDArray[np.float64], kind: int = 3, version: str = "1.2") -> NDArray[np.float64]:
    """By laspy; returns what laspy reads."""
    laspy = pytest.importorskip("laspy", reason="the reference for .las files, extra `las`, is not installed")
    header = laspy.LasHeader(point_format=kind, version=version)
    header.scales, header.offsets = [0.001, 0.002, 0.01], points[0].tolist()
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T
    las.write(path)
    found: NDArray[np.float64] = np.asarray(laspy.read(path).xyz)
    return found


@pytest.mark.parametrize("suffix", ["las", "laz"])
@pytest.mark.parametrize(("kind", "version"), [(0, "1.2"), (3, "1.2"), (1, "1.3"), (6, "1.4"), (8, "1.4")])
def test_las_agrees_with_laspy(kind: int, version: str, suffix: str, tmp_path: Path) -> None:
    points = scan() + np.array([500_000, 5_400_000, 300])
    path = tmp_path / f"cloud.{suffix}"
    if suffix == "laz":
        pytest.importorskip("lazrs", reason="what compresses .laz files, extra `las`, is not installed")
    expected = write_las(path, points, kind, version)
    assert np.array_equal(read_frame(path, POINT), expected)
    assert np.abs(expected - points).max() < 0.01
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with refused("no readable .las or .laz file"):
        read_frame(path, POINT)


def test_a_header_of_las_that_tells_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "cloud.las"
    write_las(path, scan())
    data = bytearray(path.read_bytes())
    data[107:111] = (500).to_bytes(4, "little")
    path.write_bytes(data)
    with refused("holds 960 points; its header claims 500"):
        read_frame(path, POINT)
    data[107:111] = (960).to_bytes(4, "little")
    data[131:139] = np.float64(0.1).tobytes()
    path.write_bytes(data)
    with refused("its header says from"):
        read_frame(path, POINT)
    assert len(read_frame(path, POINT.with_settings({"assume_units": "yes"}))) == 960  # type: ignore[arg-type]


def test_compressed_points_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from advcal_edge.runtime.sensors.files import las

    head = bytearray(400)
    head[:4], head[24:26], head[104:105] = b"LASF", b"\x01\x02", b"\x80"
    head[94:100] = (227).to_bytes(2, "little") + (227).to_bytes(4, "little")
    head[105:111] = (20).to_bytes(2, "little") + (99).to_bytes(4, "little")
    head[131:155] = np.full(3, 0.01).tobytes()
    (tmp_path / "cloud.laz").write_bytes(head)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(las, "import_module", missing)
    with pytest.raises(
        DependencyError, match=r"reading compressed points \(.laz\) needs the package `lazrs`"
    ) as caught:
        read_frame(tmp_path / "cloud.laz", POINT)
    assert caught.value.hint == "pip install 'advcal-edge[las]'"


def samples(folder: Path) -> dict[str, bytes]:
    """A small file of each kind."""
    few, shine = CLOUD[:40], SHINE[:40]
    write(folder / "k.bin", few, shine)
    write(folder / "n.pcd.bin", few, shine, RING[:40])
    np.savetxt(
        folder / "c.csv", np.column_stack([few, shine]), delimiter=",", header="x,y,z,i", comments="", fmt="%.6g"
    )
    np.savetxt(folder / "c.pts", few, header="40", comments="", fmt="%.6g")
    np.save(folder / "organised.npy", few.reshape(4, 10, 3))
    table = np.zeros(40, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")])
    table["x"], table["y"], table["z"] = few.T
    np.save(folder / "table.npy", table)
    for name in ("c.las", "c.laz"):
        try:
            write_las(folder / name, few.astype(np.float64))
        except (pytest.skip.Exception, Exception):  # without what compresses
            (folder / name).unlink(missing_ok=True)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return samples(tmp_path_factory.mktemp("small"))


@settings(deadline=None, max_examples=250)
@given(
    which=st.integers(0, 99),
    flips=st.dictionaries(st.integers(0, 2000), st.integers(1, 255), max_size=4),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_files_are_read_or_refused(
    which: int, flips: dict[int, int], keep: float, small: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = sorted(small)[which % len(small)]
    data = bytearray(small[name])
    for at, value in flips.items():
        data[at % len(data)] ^= value
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data[: int(keep * len(data))])
    with taken_or_refused():
        x = preprocess(POINT, [read_frame(path, POINT)])
        POINT.input.check(x)
