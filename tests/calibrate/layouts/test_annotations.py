"""Annotations in XML, tables in .mat files, and squares in pictures: roundtrips, and damage that is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from miniature import SENSORS, write
from mutations import mutated, outcome
from scipy.io import savemat

from advcal_edge.calibrate.data.layouts.crops import clipped, read_crop, square_around, squares_beside
from advcal_edge.calibrate.data.layouts.matlab import read_matlab
from advcal_edge.calibrate.data.layouts.voc import read_voc
from advcal_edge.errors import InputError

BOXES = st.tuples(st.integers(-50, 150), st.integers(-50, 150), st.integers(-50, 150), st.integers(-50, 150))


def voc(objects: list[tuple[str, tuple[int, ...]]], width: int = 64, height: int = 48) -> str:
    edges = ("xmin", "ymin", "xmax", "ymax")
    parts = [
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(edges, box, strict=True))
        + "</bndbox><part><name>head</name></part></object>"
        for name, box in objects
    ]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<?xml version='1.0'?>\n<annotation>{size}{''.join(parts)}</annotation>"


@settings(max_examples=40)
@given(objects=st.lists(st.tuples(st.sampled_from(["person", "a &amp; b"]), BOXES), max_size=4))
def test_annotations_come_back(objects: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    found = read_voc(write(tmp_path_factory.getbasetemp() / "a.xml", voc(objects)))
    assert (found.width, found.height) == (64, 48)
    assert found.objects == [(name.replace("&amp;", "&"), box) for name, box in objects]


def test_fractions_are_cut_off(tmp_path: Path) -> None:
    text = voc([("person", (1, 2, 3, 4))]).replace(">3<", ">3.9<")
    assert read_voc(write(tmp_path / "a.xml", text)).objects == [("person", (1, 2, 3, 4))]


BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no element found"),
        ("hello", "syntax error"),
        (BOMB + voc([]), "declares a document type|no readable"),
        ("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x/>", "declares a document type"),
        (voc([("person", (1, 2, 3, 4))]).replace(">3<", ">x<"), "could not convert"),
        (voc([("person", (1, 2, 3, 4))]).replace(">3<", ">nan<"), "no readable annotation"),
        (voc([("person", (1, 2, 3, 4))]).replace(">3<", ">inf<"), "no readable annotation"),
        (voc([("person", (1, 2, 3, 10**7))]), "10000000 pixels"),
        (voc([("person", (1, 2, 3, 4))]).replace("<xmin>1</xmin>", ""), "no readable annotation"),
        ("<a>" * 100 + "</a>" * 100, "more than 64 levels"),
        (voc([("p", (1, 2, 3, 4))] * 10_001), "more than 10000 objects"),
    ],
)
def test_hostile_annotations(text: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found) as caught:
        read_voc(write(tmp_path / "a.xml", text))
    assert "unpack the annotations again" in str(caught.value.hint)


def test_annotations_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVCAL_MAX_DOCUMENT_BYTES", "50")
    for read in (read_voc, read_matlab):
        with pytest.raises(InputError, match="bytes; expected at most 50"):
            read(write(tmp_path / "a", voc([])))


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_annotations(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = voc([("person", (1, 2, 3, 4)), ("car", (5, 6, 7, 8))]).encode()
    path = write(tmp_path_factory.getbasetemp() / "damaged.xml", data.draw(mutated(text)))
    outcome(read_voc, path, InputError)


def tables(rows: list[tuple[float, str]]) -> dict[str, Any]:
    table = np.empty((len(rows), 1), [("number", "O"), ("text", "O"), ("many", "O")])
    for place, (number, text) in enumerate(rows):
        table[place, 0] = (number, text, np.arange(place))
    return {"table": table, "single": np.float32(2.5), "words": "t\u00e4st", "empty": [], "small": np.uint8(7)}


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9999).map(float), st.text("ab, \u00e4", max_size=9)), max_size=5),
    packed=st.booleans(),
)
def test_mat_files_come_back(rows: list[Any], packed: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "a.mat"
    savemat(path, tables(rows), do_compression=packed)
    found = read_matlab(path)
    assert (found["single"], found["words"], found["small"], found["empty"]) == (2.5, "t\u00e4st", 7, None)
    assert isinstance(found["table"], dict)
    assert found["table"]["number"] == [number for number, _ in rows]
    assert [text or "" for text in found["table"]["text"]] == [text for _, text in rows]


def test_mat_files_of_another_level(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"a": 1.0}, format="4")
    for path in (tmp_path / "a.mat", write(tmp_path / "empty.mat", b"")):
        with pytest.raises(InputError, match="its header is not that of level 5"):
            read_matlab(path)


def test_a_mat_file_that_inflates(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(20 * 2**20), 1)
    head = b"MATLAB 5.0".ljust(124) + b"\0\1IM"
    write(tmp_path / "a.mat", head + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(InputError, match="unpacks to more than 16777216 bytes"):
        read_matlab(tmp_path / "a.mat")


@settings(max_examples=80)
@given(data=st.data(), packed=st.booleans())
def test_damaged_mat_files(data: st.DataObject, packed: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    savemat(path, tables([(1.0, "one"), (2.0, "two")]), do_compression=packed)
    path.write_bytes(data.draw(mutated(path.read_bytes())))
    outcome(read_matlab, path, InputError)


@settings(max_examples=200)
@given(box=BOXES, width=st.integers(1, 120), height=st.integers(1, 120))
def test_a_square_shows_as_much_of_a_box_as_fits(box: tuple[int, int, int, int], width: int, height: int) -> None:
    inside = clipped(box, width, height)
    if inside is None:
        return
    left, top, right, bottom = square_around(inside, width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    longer = max(inside[2] - inside[0], inside[3] - inside[1])
    assert right - left == bottom - top == min(longer, width, height)
    if longer <= min(width, height):
        assert left <= inside[0] < inside[2] <= right
        assert top <= inside[1] < inside[3] <= bottom


@settings(max_examples=40)
@given(boxes=st.lists(BOXES, min_size=1, max_size=3), name=st.text(max_size=5))
def test_squares_beside_touch_no_box(boxes: list[tuple[int, int, int, int]], name: str) -> None:
    kept = [box for box in (clipped(box, 120, 90) for box in boxes) if box is not None]
    if not kept:
        return
    sides = [square_around(box, 120, 90)[2] - square_around(box, 120, 90)[0] for box in kept]
    found = squares_beside(kept, sides, 120, 90, name)
    assert found == squares_beside(kept, sides, 120, 90, name)
    for left, top, right, bottom in found:
        assert 0 <= left < right <= 120
        assert 0 <= top < bottom <= 90
        assert right - left == bottom - top
        assert right - left in sides
        for box in kept:
            assert left >= box[2] or right <= box[0] or top >= box[3] or bottom <= box[1]


def test_a_crop_of_a_picture_that_is_too_small(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 30), np.uint8))
    assert read_crop(tmp_path / "a.npy", (5, 5, 15, 15), SENSORS["thermal"]).shape == (10, 10)
    with pytest.raises(InputError, match=r"is \(20, 30\); expected 31 x 15 pixels or more"):
        read_crop(tmp_path / "a.npy", (5, 5, 31, 15), SENSORS["thermal"])
