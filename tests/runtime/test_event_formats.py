"""Events as cameras and their tools store them, against writers by the letter of each format and other libraries."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mutations import mutated, outcome
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.runtime.sensors.files import prophesee_words
from advcal_edge.spec import event

GOLDEN = Path(__file__).parent / "golden"
EIGHT = event(8)
DTYPE = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
BLOSC, ECF = 32001, 0x8ECF
FORMATS = ["evt2", "evt21", "evt3", "dat", "ecf packed", "ecf rows", "ecf rowsx", "text"]
FORMATS += ["blosc"] * bool(find_spec("blosc")) + ["lz4", "zstd"] * bool(find_spec("aedat"))
"""All that can be read here."""


def some(count: int = 200, seed: int = 0, height: int = 480, width: int = 640, last: int = 2**17) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    events = np.zeros(count, DTYPE)
    events["t"] = np.sort(rng.integers(0, last, count))
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["p"] = rng.integers(0, 2, count)
    return events


def rows(events: NDArray[Any]) -> list[tuple[int, int, int, int]]:
    return list(zip(*(events[name].tolist() for name in "txyp"), strict=True))


def evt2(events: NDArray[Any]) -> bytes:
    """By the letter of EVT 2.0: a word for each event, and one whenever the time above its lowest 6 bits changes."""
    words, high = [], -1
    for t, x, y, p in rows(events):
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 28 | high % 2**28)
        words.append(int(p) << 28 | (t & 63) << 22 | x << 11 | y)
    return b"% evt 2.0\n% format EVT2;height=480;width=640\n% end\n" + struct.pack(f"<{len(words)}I", *words)


def evt21(events: NDArray[Any]) -> bytes:
    """By the letter of EVT 2.1: words of 64 bits, here with one pixel each."""
    words, high = [], -1
    for t, x, y, p in rows(events):
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 60 | high % 2**28 << 32)
        words.append(int(p) << 60 | (t & 63) << 54 | (x & ~31) << 43 | y << 32 | 1 << (x & 31))
    return b"% evt 2.1\n% format EVT21;height=480;width=640\n% end\n" + struct.pack(f"<{len(words)}Q", *words)


def evt3(events: NDArray[Any]) -> bytes:
    """By the letter of EVT 3.0: words that set the time, low and high, and the row, where they change."""
    words, high, low, row = [], -1, -1, -1
    for t, x, y, p in rows(events):
        if t >> 12 != high:
            high, low = t >> 12, 0
            words.append(0x8 << 12 | high % 2**12)
        if t % 2**12 != low:
            low = t % 2**12
            words.append(0x6 << 12 | low)
        if y != row:
            row = y
            words.append(y)
        words.append(0x2 << 12 | int(p) << 11 | x)
    return b"% evt 3.0\n% geometry 640x480\n% end\n" + struct.pack(f"<{len(words)}H", *words)


def dat(events: NDArray[Any]) -> bytes:
    """By the letter of DAT: 32 bits of time, then 14 of x, 14 of y, 4 of polarity."""
    body = b"".join(struct.pack("<II", t % 2**32, int(p) << 28 | y << 14 | x) for t, x, y, p in rows(events))
    return b"% Data file containing CD events.\n% Version 2\n% Height 480\n% Width 640\n\x0c\x08" + body


def packed_hdf5(columns: dict[str, tuple[NDArray[Any], list[bytes]]], number: int, rows_of_a_chunk: int) -> bytes:
    """An HDF5 file with chunks that a filter packed which HDF5 does not have: marked optional, stored as they are."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, (column, chunks) in columns.items():
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_chunk((rows_of_a_chunk,))
            settings.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
            links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
            links.set_create_intermediate_group(True)
            space = h5py.h5s.create_simple(column.shape)
            kind = h5py.h5t.py_create(column.dtype, logical=True)
            dataset = h5py.h5d.create(file.id, name.encode(), kind, space, settings, links)
            for index, chunk in enumerate(chunks):
                dataset.write_direct_chunk((index * rows_of_a_chunk,), chunk)
    return out.getvalue()


def blosc_hdf5(events: NDArray[Any], size: int = 64) -> bytes:
    """As DSEC: a column each, packed by Zstandard within Blosc."""
    blosc = pytest.importorskip("blosc", reason="the extra `events` is not installed")
    columns = {}
    for name in "txyp":
        column = events[name].astype("u1") if name == "p" else events[name]
        padded = np.pad(column, (0, -len(column) % size))
        parts = [padded[at : at + size].tobytes() for at in range(0, len(padded), size)]
        chunks = [blosc.compress(part, typesize=column.itemsize, cname="zstd") for part in parts]
        columns[f"events/{name}"] = column, chunks
    return packed_hdf5(columns, BLOSC, size)


def ecf_hdf5(kind: str) -> tuple[bytes, NDArray[Any]]:
    """Events that Prophesee's own codec packed, in its layout, and the events."""
    with np.load(GOLDEN / "event_ecf.npz") as golden:
        chunk = golden[f"{kind}_chunk"].tobytes()
        table = np.zeros(len(golden[f"{kind}_t"]), np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")]))
        for name in "xypt":
            table[name] = golden[f"{kind}_{name}"]
    return packed_hdf5({"CD/events": (table, [chunk])}, ECF, len(table)), table


def assert_read(path: Path, events: NDArray[Any], **declared: Any) -> None:
    found = read_frame(path, EIGHT.with_settings(declared))
    for name in "xytp":
        np.testing.assert_array_equal(found[name], events[name], err_msg=name)


WRITERS: dict[str, Callable[[NDArray[Any]], bytes]] = {"evt2": evt2, "evt21": evt21, "evt3": evt3, "dat": dat}


@pytest.mark.parametrize("kind", WRITERS)
@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 120), seed=st.integers(0, 99), block=st.sampled_from([1, 2, 7, 50, 2**20]))
def test_what_a_camera_of_prophesee_writes_comes_back(
    kind: str, count: int, seed: int, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the size of the blocks in which words are taken."""
    path = tmp_path_factory.getbasetemp() / f"camera.{kind}"
    path.write_bytes(WRITERS[kind](some(count, seed)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prophesee_words, "BLOCK", block)
        assert_read(path, some(count, seed))


@pytest.mark.parametrize("kind", ["evt2", "evt3", "dat"])
def test_clocks_that_start_again(kind: str, tmp_path: Path) -> None:
    bits = {"evt2": 34, "evt3": 24, "dat": 32}[kind]
    events = some(300, last=2**23)
    events["t"] += 2**bits - 2**22
    (tmp_path / "a.raw").write_bytes(WRITERS[kind](events))
    assert_read(tmp_path / "a.raw", events)


@pytest.mark.parametrize("block", [1, 3, 2**20])
def test_vectors_of_evt3(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 pixels, 12 more and 8 from a base on, then another row; bits are pixels, the lowest first."""
    words = [
        0x8000,
        0x6005,
        0x0007,
        0x3000 | 1 << 11 | 100,
        0x4000 | 0b1000_0000_0001,
        0x4000 | 0b10,
        0x5000 | 0b1000_0001,
    ]
    words += [0x6009, 0x0008, 0x3000 | 32, 0x5000 | 0b11, 0xA001, 0xE123, 0x2000 | 5]
    (tmp_path / "a.raw").write_bytes(b"% evt 3.0\n% end\n" + struct.pack(f"<{len(words)}H", *words))
    monkeypatch.setattr(prophesee_words, "BLOCK", block)
    found = read_frame(tmp_path / "a.raw", EIGHT)
    assert found["x"].tolist() == [100, 111, 113, 124, 131, 32, 33, 5]
    assert found["y"].tolist() == [7] * 5 + [8] * 3
    assert found["t"].tolist() == [5] * 5 + [9] * 3
    assert found["p"].tolist() == [True] * 5 + [False] * 3


def test_vectors_of_evt21(tmp_path: Path) -> None:
    words = [0x8 << 60 | 3 << 32, 1 << 60 | 2 << 54 | 64 << 43 | 9 << 32 | 0x8000_0005]
    (tmp_path / "a.raw").write_bytes(b"% evt 2.1\n% end\n" + struct.pack("<2Q", *words))
    found = read_frame(tmp_path / "a.raw", EIGHT)
    assert rows(found) == [(194, 64, 9, True), (194, 66, 9, True), (194, 95, 9, True)]


def test_the_package_faery_agrees(tmp_path: Path) -> None:
    """Another library writes, this one reads, and the other way round."""
    faery = pytest.importorskip("faery")
    events = some(3000)
    theirs = np.zeros(3000, faery.EVENTS_DTYPE)
    for name, field in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        theirs[field] = events[name]
    for kind in ("evt2", "evt3"):
        faery.events_stream_from_array(theirs, (640, 480)).to_file(tmp_path / "a.raw", version=kind, zero_t0=False)
        assert_read(tmp_path / "a.raw", events)
        (tmp_path / "b.raw").write_bytes(WRITERS[kind](events))
        np.testing.assert_array_equal(faery.events_stream_from_file(tmp_path / "b.raw").to_array()["x"], events["x"])
    faery.events_stream_from_array(theirs, (640, 480)).to_file(tmp_path / "a.dat", version="dat2", zero_t0=False)
    assert_read(tmp_path / "a.dat", events)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"% evt 4.0\n% end\n", "encoding EVT4"),
        (b"% evt 2.1\n% format EVT21;endianness=legacy\n% end\n", "encoding EVT21"),
        (b"% system_ID 49\n% end\n", "encoding unknown"),
        (b"% evt 3.0\n% end\n\0", "no words of 2 bytes"),
        (b"% evt 3.0\n% end\n\0\x90", "of type 0x9"),
        (b"% evt 3.0\n% end\n", "holds 0 events"),
        (
            b"% evt 3.0\n% end\n" + struct.pack("<5H", 0x8000, 0x6000, 5, 0x3000 | 2040, 0x4FFF),
            "a vector reaches column 2051",
        ),
        (b"% Data file containing trigger events.\n\x0e\x08", "events of type 0e"),
        (b"% Data file containing CD events.\n\x0c\x08\0\0\0", "3 bytes of events"),
        (b"% Data file containing CD events.\n\x0c\x08" + struct.pack("<II", 0, 2 << 28), "polarity of 2"),
    ],
)
def test_other_files_of_prophesee_are_refused(header: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(header)
    with refused(message):
        read_frame(tmp_path / "a.raw", EIGHT)


def test_events_outside_the_sensor_of_the_header_are_damage(tmp_path: Path) -> None:
    for kind in ("evt2", "evt3", "dat"):
        (tmp_path / "a.raw").write_bytes(WRITERS[kind](some(width=700)))
        with refused("its header says 640 x 480"):
            read_frame(tmp_path / "a.raw", EIGHT)


@pytest.mark.parametrize("packing", ["lz4", "zstd", "plain"])
def test_aedat4(packing: str) -> None:
    """Written by the package faery, read through aedat."""
    pytest.importorskip("aedat", reason="the extra `events` is not installed")
    with np.load(GOLDEN / "event_aedat4.npz") as golden:
        assert_read(GOLDEN / f"event_{packing}.aedat4", {name: golden[name] for name in "txyp"})  # type: ignore[arg-type]


def test_aedat4_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("aedat", reason="the extra `events` is not installed")
    data = (GOLDEN / "event_lz4.aedat4").read_bytes()
    for size in (14, 17, 100, 800, len(data) // 2):
        (tmp_path / "a.aedat4").write_bytes(data[:size])
        with refused("no whole AEDAT 4 file"):
            read_frame(tmp_path / "a.aedat4", EIGHT)


def test_hdf5_packed_by_blosc(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(blosc_hdf5(some(200)))
    assert_read(tmp_path / "a.h5", some(200))


def test_blosc_that_unpacks_to_another_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(blosc_hdf5(some(64)))
    at = data.find(struct.pack("<II", 64 * 8, 64 * 8))  # sizes of the chunk of t, and of a block in it
    assert at > 0
    data[at : at + 4] = struct.pack("<I", 2**30)
    (tmp_path / "a.h5").write_bytes(data)
    with refused("unpacks to 1073741824"):
        read_frame(tmp_path / "a.h5", EIGHT)


@pytest.mark.parametrize("kind", ["packed", "rows", "rowsx"])
def test_hdf5_packed_by_ecf(kind: str, tmp_path: Path) -> None:
    data, events = ecf_hdf5(kind)
    (tmp_path / "a.h5").write_bytes(data)
    assert_read(tmp_path / "a.h5", events, assume_units="yes")  # synthetic: rows one after the other


TEXTS = st.sampled_from([(" ", "", ()), (",", "", ()), (" ", "# made by v2e\n# t x y p\n", ()), (",", "t,x,y,p\n", ()),
                         (",", "timestamp (us),x,y,polarity\n", ())])  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(order=st.permutations("txyp"), text=TEXTS, declared=st.booleans(), seed=st.integers(0, 99))
def test_text_comes_back(
    order: list[str],
    text: tuple[str, str, tuple[()]],
    declared: bool,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """In any order that its header says or that is declared."""
    path, events = tmp_path_factory.getbasetemp() / "events.txt", some(80, seed)
    delimiter, header, _ = text
    if header.startswith(("t,", "timestamp")):
        names = header.strip().split(",")
        header = ",".join(names["txyp".index(name)] for name in order) + "\n"
    elif not declared:
        order = list("txyp")
    elif header:
        header = "# made by v2e\n"
    np.savetxt(path, np.stack([events[name].astype(np.int64) for name in order], axis=1), "%d", delimiter)
    path.write_text(header + path.read_text())
    assert_read(path, events, **({"columns": ",".join(order)} if declared else {}))


@pytest.mark.parametrize("form", ["npy", "npz", "txt", "array", "h5"])
def test_another_order_is_refused_and_read_when_declared(form: str, tmp_path: Path) -> None:
    events = some()
    table = np.stack([events[name].astype(np.float64) for name in "xytp"], axis=1)
    path = tmp_path / f"a.{form}"
    if form == "npz":  # the order of N-ImageNet is x, y, t, p: another is t, x, y, p
        table = np.ascontiguousarray(table[:, [2, 0, 1, 3]])
        np.savez(path, event_data=table)
    elif form == "h5":
        with h5py.File(path, "w") as file:
            file["events"] = table
    elif form == "txt":
        np.savetxt(path, table, "%d")
    else:
        path = tmp_path / "a.npy"
        np.save(path, table)
    with refused("times that fall") as refusal:
        read_frame(path, EIGHT)
    order = "t,x,y,p" if form == "npz" else "x,y,t,p"
    if form != "npz":
        assert f"`--set input.columns={order}`" in str(refusal.value.hint)
    assert_read(path, events, columns=order)


def test_extra_columns_are_left_out(tmp_path: Path) -> None:
    events = some()
    np.save(tmp_path / "a.npy", np.stack([events[name].astype(float) for name in "xxytp"], axis=1))
    with refused(r"\(200, 5\)") as refusal:
        read_frame(tmp_path / "a.npy", EIGHT)
    assert "input.columns" in str(refusal.value.hint)
    assert_read(tmp_path / "a.npy", events, columns="-,x,y,t,p")


def test_what_cannot_be_a_camera_is_refused() -> None:
    events = some()
    table = np.stack([events[name].astype(np.float64) for name in "txyp"], axis=1)
    read = lambda rows, **declared: read_rows(rows, declared)  # noqa: E731
    wide = table.copy()
    wide[5, 1] = 5000
    with refused("spans .* in x; expected a sensor of at most 4096"):
        read(wide)
    read(wide, assume_units="yes")
    rising = table.copy()
    rising[:, 2] = np.arange(len(rising))
    with refused("coordinate y that never falls"):
        read(rising)
    with refused("times that fall"):
        read(table[::-1])
    assert len(read(table[::-1], assume_units="yes")) == len(table)
    with refused("events in 1.3e-07 s, if its times are in ns"):
        seconds = np.concatenate([np.tile(table, (10, 1))])
        seconds[:, 0] = np.sort(seconds[:, 0]) / 1000
        read(seconds, time_unit="ns")
    read(table, time_unit="us")


def read_rows(rows: NDArray[Any], declared: dict[str, Any]) -> NDArray[Any]:
    from advcal_edge.runtime.sensors.event import check_events

    return check_events(rows, "frame", EIGHT.with_settings(declared))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"#!AER-DAT3.1\r\n", "AEDAT file older than version 4"),
        (b"Event Stream\x02\0\0\1", r"Event Stream file \(.es\)"),
        (b"#ROSBAG V2.0\n", "ROS bag"),
    ],
)
def test_formats_that_are_not_read_are_named(head: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(head + b"\0" * 9)
    with refused(message):
        read_frame(tmp_path / "a.xyz", EIGHT)


@settings(deadline=None, max_examples=250)
@given(
    data=st.data(),
    kind=st.sampled_from(FORMATS),
)
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.xyz"
    if kind in WRITERS:
        whole = WRITERS[kind](some(30))
    elif kind.startswith("ecf"):
        whole, _ = ecf_hdf5(kind.removeprefix("ecf "))
    elif kind == "blosc":
        whole = blosc_hdf5(some(70))
    elif kind == "text":
        whole = b"t,x,y,p\n" + b"\n".join(b"%d,%d,%d,%d" % row for row in rows(some(20)))
    else:
        whole = (GOLDEN / f"event_{kind}.aedat4").read_bytes()
    path.write_bytes(data.draw(mutated(whole)))
    outcome(lambda path: read_frame(path, EIGHT), path, InputError)
