"""Reading lists of a data set: within limits, and never out of its folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from fuzz.calls import read_layout
from fuzz.layout_lists import LISTS, write_lists
from hypothesis import given, settings, strategies as st
from miniature import write
from mutations import mutated

from advcal_edge.calibrate.data.layouts import Root
from advcal_edge.calibrate.data.layouts.listing import Listing, Side, distinct, spoken
from advcal_edge.errors import InputError

PLACE = ("list.txt", 7)


@pytest.mark.parametrize("name", ["a.png", "a/b/c.png", "a..b/c", "...", "a b", "-rf", "n\u00e4me"])
def test_names_below(name: str, tmp_path: Path) -> None:
    assert Root(tmp_path).below(name, PLACE) == name


@pytest.mark.parametrize("name", ["", "/a", "..", "../a", "a/..", "a/../../b", "a\\b", "a\0b", "//a"])
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"list.txt`, entry 7: .* leaves the folder of the set") as caught:
        Root(tmp_path).below(name, PLACE)
    assert str(tmp_path) in str(caught.value.hint)


@settings(max_examples=200)
@given(name=st.text(st.sampled_from("./\\a\0"), max_size=12))
def test_no_name_leads_out(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    try:
        found = Root(base).below(name, PLACE)
    except InputError:
        return
    assert Path(os.path.normpath(base / "folder" / found)).is_relative_to(base / "folder")


@pytest.mark.parametrize(
    ("pattern", "there"),
    [("a", True), ("a/b.txt", True), ("*/b.txt", True), ("*/*.txt", True), ("a/*.csv", False), ("c", False),
     ("b*", False), ("*/*/*", False), ("a/b.txt/c", False), (".h*", False)],
)  # fmt: skip
def test_patterns(pattern: str, there: bool, tmp_path: Path) -> None:
    write(tmp_path / "a" / "b.txt", "")
    write(tmp_path / ".hidden", "")
    assert Root(tmp_path).has(pattern) is there


def test_files_and_folders(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "c.jpg", "png", ".d.png", "f.png/x"):
        write(tmp_path / "p" / name, "")
    root = Root(tmp_path)
    assert root.files("p", ".png") == ["a.png", "b.PNG"]
    assert root.folders("p") == ["f.png"]
    with pytest.raises(InputError, match=r"cannot read .*: No such file") as caught:
        root.files("q", ".png")
    assert "ls -ld" in str(caught.value.hint)


def test_lists_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, found in (("pipe", "is a pipe"), ("device", "is a device"), ("none", "No such file")):
        for read in (lambda root, name: list(root.lines(name)), lambda root, name: root.document(name)):
            with pytest.raises(InputError, match=found):
                read(Root(tmp_path), name)


def test_lines(tmp_path: Path) -> None:
    write(tmp_path / "a", b"\xef\xbb\xbfone\r\n\n two \nthree")
    assert list(Root(tmp_path).lines("a")) == [("one", ("a", 1)), ("two", ("a", 2)), ("three", ("a", 3))]
    write(tmp_path / "b", b"\xff\n")
    with pytest.raises(InputError, match="cannot read"):
        list(Root(tmp_path).lines("b"))


def test_folders_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(4):
        write(tmp_path / f"{place}.png", "")
    monkeypatch.setenv("ADVCAL_MAX_LISTED_FILES", "3")
    with pytest.raises(InputError, match="has 4 files; expected at most 3"):
        Root(tmp_path).files("", ".png")
    side = Side()
    side.add("a", ["x", "y"])
    with pytest.raises(InputError, match="has 4 files"):
        side.add("b", ["x", "y"])


def test_labels_of_both_sides() -> None:
    train, held_out = Side(), Side()
    train.add("b", ["1"])
    held_out.add("a", ["2", "3"])
    held_out.add("b", [])
    assert Listing(train, held_out).counts == {"b": 1, "a": 2}
    assert Listing(train, held_out).labels == ("a", "b")
    assert Listing(train, None).labels == ("b",)


def test_names_in_words() -> None:
    assert spoken(" air_conditioner__x ") == "air conditioner x"
    names = {"1": ["crane", "crane"], "2": ["crane", "crane"], "3": ["maillot", "maillot"],
             "4": ["maillot", "maillot, tank suit"], "5": ["tench", "tench, Tinca"], "6": []}  # fmt: skip
    assert distinct(names) == {"1": "crane (1)", "2": "crane (2)", "3": "maillot", "4": "maillot, tank suit",
                               "5": "tench", "6": "6"}  # fmt: skip


@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(LISTS))
def test_damaged_lists_are_read_or_refused(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp() / "damaged"
    if not base.exists():
        write_lists(base)
    chosen = data.draw(st.sampled_from([file for file, text in LISTS[name].items() if text]))
    write(base / name / chosen, data.draw(mutated(LISTS[name][chosen].encode())))
    with suppress(InputError):
        read_layout(name.split()[0], str(base / name))
    write(base / name / chosen, LISTS[name][chosen])
