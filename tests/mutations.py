"""Files that something has happened to: bytes turned, cut, repeated or put in, with and without a length that fits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from advcal_edge.errors import AdvcalError

WORDS = (
    b"NaN",
    b"-1",
    b"1e400",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"18446744073709551617",
    b"\xff\xff",
    b"\0" * 8,
    b"BF16",
    b"I64",
    b"9" * 10,
    b".",
)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The data after one to five accidents."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(found)))
        kind = draw(st.sampled_from(("flip", "put", "replace", "remove", "cut", "repeat")))
        if kind == "flip" and at < len(found):
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "put":
            found[at:at] = draw(st.sampled_from(WORDS))
        elif kind == "replace":
            found[at : at + draw(st.integers(1, 9))] = draw(st.sampled_from(WORDS))
        elif kind == "remove":
            del found[at : at + draw(st.integers(1, 20))]
        elif kind == "cut":
            del found[at:]
        else:
            found[at:at] = found[at : at + draw(st.integers(1, 60))]
    return bytes(found)


@st.composite
def mutated_tensors(draw: st.DrawFn, data: bytes) -> bytes:
    """A safetensors file of which anything, or the header alone and its length with it, was changed."""
    if draw(st.booleans()):
        return draw(mutated(data))
    length = int.from_bytes(data[:8], "little")
    header = draw(mutated(data[8 : 8 + length]))
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


@st.composite
def mutated_zip(draw: st.DrawFn, data: bytes) -> bytes:
    """A zip of which anything, or one entry and its checksum with it, was changed."""
    if draw(st.booleans()):
        return draw(mutated(data))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = draw(st.sampled_from([name for name in names if name.endswith("data.pkl")] * 3 + names))
        for name in names:
            content = old.read(name)
            new.writestr(name, draw(mutated(content)) if name == chosen else content)
    return out.getvalue()


def outcome(load: Callable[[Path], object], path: Path, *kinds: type[AdvcalError]) -> AdvcalError | None:
    """What `load` says of a file in words, None where it takes it; anything else it raises goes through."""
    try:
        load(path)
    except kinds as error:
        found = error
    else:
        return None
    assert found.hint, found.message
    return found
