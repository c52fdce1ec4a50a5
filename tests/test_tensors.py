"""Headers of safetensors files: bounded before they are read, strict, and one kind of error for all that is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from mutations import mutated_tensors, outcome
from safetensors.numpy import save
from tiny import make_centers

from advcal_edge.centers import Centers
from advcal_edge.errors import BundleError, InputError
from advcal_edge.tensors import Complaint, open_tensors

COMPLAINT = Complaint(InputError, "is no whole safetensors file", "download it again")
VALUES = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}
WHOLE = save(VALUES, {"about": '{"n": 3}'})
CENTERS = make_centers().to_bytes()


def packed(header: object, rest: bytes = b"") -> bytes:
    """A file of this header, which may be text that is no JSON."""
    data = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(data).to_bytes(8, "little") + data + rest


def entry(**changes: object) -> dict[str, object]:
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize("framework", ["np", "pt"])
def test_tensors_and_what_is_said_of_them(framework: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(WHOLE)
    with open_tensors(tmp_path / "f", framework, COMPLAINT) as file:  # type: ignore[arg-type]
        assert sorted(file.names) == ["a", "b"]
        assert file.document("about") == {"n": 3}
        for name, value in VALUES.items():
            np.testing.assert_array_equal(np.asarray(file.tensor(name)), value)
        with pytest.raises(InputError, match="no tensor `c`"):
            file.tensor("c")
        with pytest.raises(InputError, match="lack `else`"):
            file.document("else")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends before its header"),
        (b"\0" * 7, "ends before its header"),
        ((2**63).to_bytes(8, "little") + b"{}", "ends before its header"),
        (packed("[]"), "describes no tensors"),
        (packed("{"), "cannot be read as JSON"),
        (packed('{"__metadata__": {"a": NaN}}'), "NaN"),
        (packed({"__metadata__": {"a": 1}}), "no texts"),
        (packed({"__metadata__": []}), "describes no tensors"),
        (packed({"x": "F32"}), "describes no tensors"),
        (packed("[" * 100_000), "cannot be read as JSON"),
        (packed(entry(), b"1234567"), "is no whole"),
        (packed(entry(), b"123456789"), "is no whole"),
        (packed(entry(data_offsets=[8, 0]), b"12345678"), "is no whole"),
        (packed(entry(data_offsets=[4, 12]), b"123456789012"), "is no whole"),
        (packed(entry(shape=[3]), b"12345678"), "is no whole"),
        (packed(entry(shape=[2**62, 2**62]), b"12345678"), "is no whole"),
        (packed(entry(shape=[-2]), b"12345678"), "is no whole"),
        (packed(entry(dtype="F33"), b"12345678"), "is no whole"),
        (packed(entry(dtype="F64", shape=[1]) | {"y": entry()["x"]}, b"12345678"), "is no whole"),
    ],
)
def test_a_damaged_header_is_said_in_words(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught, open_tensors(tmp_path / "f", "np", COMPLAINT):
        pass
    assert caught.value.hint == "download it again"


def test_a_large_header_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write((2**40).to_bytes(8, "little"))
        file.truncate(2**40 + 8)  # a hole: no byte of it is on the disk
    with pytest.raises(InputError, match="1,099,511,627,776 bytes") as caught, open_tensors(path, "np", COMPLAINT):
        pass
    assert "ADVCAL_MAX_TENSOR_HEADER_BYTES" in str(caught.value.hint)
    path.write_bytes(WHOLE)
    monkeypatch.setenv("ADVCAL_MAX_TENSOR_HEADER_BYTES", "10")
    with pytest.raises(InputError, match="expected at most 10"), open_tensors(path, "np", COMPLAINT):
        pass


def test_no_pipe_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InputError, match="is a pipe"), open_tensors(tmp_path / "f", "np", COMPLAINT):
        pass


def test_a_type_that_numpy_lacks(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(packed(entry(dtype="F8_E4M3", shape=[8]), bytes(8)))
    with open_tensors(tmp_path / "f", "np", COMPLAINT) as file, pytest.raises(InputError, match="`x` cannot be read"):
        file.tensor("x")


def renamed(change: Callable[[dict[str, object]], object]) -> bytes:
    """The centers with other metadata."""
    length = int.from_bytes(CENTERS[:8], "little")
    header = json.loads(CENTERS[8 : 8 + length])
    about = json.loads(header["__metadata__"]["centers"])
    change(about)
    return packed({**header, "__metadata__": {"centers": json.dumps(about)}}, CENTERS[8 + length :])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("labels", "abcd", "no list of texts"),
        ("labels", [1, 2, 3, 4], "no list of texts"),
        ("labels", {"a": 1, "b": 2, "c": 3, "d": 4}, "no list of texts"),
        ("labels", ["a", "b", "c"], "one row a label"),
        ("labels", ["a", "b", "c", "\ud800"], "cannot be read as JSON"),
        ("temperature", "0.1", "numbers"),
        ("temperature", True, "numbers"),
        ("temperature", 2**70, "64 bits"),
        ("temperature", 0, "positive"),
        ("softness", None, "numbers"),
        ("source", 7, "a text for `source`"),
    ],
)
def test_centers_of_other_metadata(key: str, value: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(renamed(lambda about: about.update({key: value})))
    with pytest.raises(BundleError, match=words) as caught:
        Centers.load(tmp_path / "f")
    assert "holds no centers" in caught.value.message


def test_centers_that_are_no_numbers(tmp_path: Path) -> None:
    for value in (np.inf, np.nan, 3e38):
        length = int.from_bytes(CENTERS[:8], "little")
        (tmp_path / "f").write_bytes(CENTERS[: 8 + length] + np.full(24, value, np.float32).tobytes())
        with pytest.raises(BundleError, match="unit norm"):
            Centers.load(tmp_path / "f")


@given(data=st.data())
def test_any_damage_to_centers(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "centers.safetensors"
    path.write_bytes(data.draw(mutated_tensors(CENTERS)))
    outcome(Centers.load, path, BundleError)
