"""The header of an .npy array, versions 1 to 3, as in npz archives.

The header is a Python literal. It is parsed as the few tokens that numpy writes, and never with Python's own parser,
which raises almost anything for a hostile header, and prints warnings about it on the user's terminal.
"""

from __future__ import annotations

import json
import re
from typing import IO, Any

import numpy as np

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 10_000
"""The limit of numpy itself."""

MOST_AXES = 16
WIDEST = 2**16  # bytes of one value that is not a number

_TOKEN = re.compile(r"""\s*(?:('[^'"\\]*'|"[^'"\\]*")|(\d{1,18})L?(?!\w)|(True|False)(?!\w)|([][(){},:]))""")
_DTYPE = re.compile(r"[<>|=]?[A-Za-z?]\d{0,9}(\[\d{0,9}[A-Za-z]{1,7}\])?")


def read_header(file: IO[bytes], widest: int = WIDEST) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype of at most `widest` bytes, and whether the first axis varies fastest; the stream is then behind it.

    Raises:
        ValueError: a header that numpy did not write, or an array of Python objects.
    """
    start = file.read(8)
    if not start.startswith(MAGIC):
        raise ValueError("it is no .npy array")
    length = int.from_bytes(file.read(2 if start[6:7] == b"\x01" else 4), "little")
    if start[6:] not in (b"\x01\0", b"\x02\0", b"\x03\0") or length > HEADER_BYTES:
        raise ValueError(f"version {tuple(start[6:])} with a header of {length} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends within its header")
    try:
        header = json.loads(_as_json(text.decode("utf-8")))
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not hold descr, fortran_order and shape alone")
    return _shape(header["shape"]), _dtype(header["descr"], widest), header["fortran_order"] is True


def _as_json(literal: str) -> str:
    """Convert a literal of dictionaries, tuples, lists, strings, numbers and booleans to JSON."""
    tokens: list[str] = []
    at, end = 0, len(literal.rstrip())
    while at < end:
        token = _TOKEN.match(literal, at)
        if token is None:
            raise ValueError(f"its header has {literal[at : at + 20]!r} at {at}")
        text, number, truth, mark = token.groups()
        if mark in (")", "]", "}") and tokens[-1:] == [","]:
            del tokens[-1]
        if text is not None:
            tokens.append(f'"{text[1:-1]}"')
        elif number is not None:
            tokens.append(str(int(number)))
        else:
            tokens.append(truth.lower() if truth else {"(": "[", ")": "]"}.get(mark, mark))
        at = token.end()
    return "".join(tokens)


def _shape(sides: object) -> tuple[int, ...]:
    if not isinstance(sides, list) or len(sides) > MOST_AXES or not all(type(side) is int for side in sides):
        raise ValueError("its shape is no tuple of a few whole numbers")
    return tuple(sides)


def _dtype(description: object, widest: int) -> np.dtype[Any]:
    """One dtype, or a table of named columns."""
    if isinstance(description, str):
        return _plain(description, widest)
    if not isinstance(description, list) or not 0 < len(description) <= 64:
        raise ValueError("its descr is neither a type nor a table")
    columns: list[tuple[str, np.dtype[Any]]] = []
    for column in description:
        if not isinstance(column, list) or len(column) != 2 or not all(isinstance(word, str) for word in column):
            raise ValueError("its table has columns other than a name and a type")
        columns.append((column[0], _plain(column[1], widest)))
    return np.dtype(columns)


def _plain(name: str, widest: int) -> np.dtype[Any]:
    if not _DTYPE.fullmatch(name):
        raise ValueError(f"it has no type `{name[:40]}`")
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would be a pickle, and is not loaded")
    if dtype.itemsize == 0 or dtype.itemsize > {"f": 8, "c": 16}.get(dtype.kind, widest):
        raise ValueError(f"its values take {dtype.itemsize} bytes each; expected no more than a double")
    return dtype
