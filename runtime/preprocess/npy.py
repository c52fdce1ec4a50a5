"""Arrays from .npy files, versions 1 to 3: what the header claims is compared with the file before memory is taken.

The header is a Python literal. It is read as the few tokens that numpy writes, and never by Python itself: its parser
raises almost anything for a hostile one, and warns about it on the user's terminal.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from advcal_edge.documents import parse_json
from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess.frame import Array
from advcal_edge.runtime.preprocess.sensor_file import AGAIN

HEADER_BYTES = 10_000
"""As many as numpy itself takes."""

MOST_AXES = 16

_TOKEN = re.compile(r"""\s*(?:('[^'"\\]*'|"[^'"\\]*")|(\d{1,18})L?(?!\w)|(True|False)(?!\w)|([][(){},:]))""")
_DTYPE = re.compile(r"[<>|=]?[A-Za-z?]\d{0,9}(\[\d{0,9}[A-Za-z]{1,7}\])?")


def read_npy(file: BinaryIO, path: Path) -> Array:
    """The array in an open .npy file, its position at the start.

    Raises:
        InputError: a header that numpy did not write, an array of Python objects, or one larger than the file.
    """
    try:
        shape, dtype, turned = _header(file)
        needed = math.prod(shape) * dtype.itemsize
        left = os.fstat(file.fileno()).st_size - file.tell()
        if needed > left:
            raise ValueError(f"it claims {dtype} {shape}, {needed:,} bytes, and has {left:,} of them")
        data = np.fromfile(file, np.uint8, needed)
        if len(data) != needed:
            raise ValueError("it became shorter while it was read")
        return data.view(dtype).reshape(shape, order="F" if turned else "C")
    except (InputError, TypeError, ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no readable .npy array: {error}",
            hint=f"write it with `numpy.save`; if that wrote it, {AGAIN}",
        ) from error


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype, and whether the first axis runs fastest."""
    start = file.read(8)
    length = int.from_bytes(file.read(2 if start[6:7] == b"\x01" else 4), "little")
    if start[6:] not in (b"\x01\0", b"\x02\0", b"\x03\0") or length > HEADER_BYTES:
        raise ValueError(f"version {tuple(start[6:])} with a header of {length} bytes")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends within its header")
    header = parse_json(_as_json(text.decode("utf-8")), "its header", InputError)
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not hold descr, fortran_order and shape alone")
    return _shape(header["shape"]), _dtype(header["descr"]), header["fortran_order"] is True


def _as_json(literal: str) -> str:
    """A literal of dictionaries, tuples, lists, words, numbers and truths in JSON."""
    found: list[str] = []
    at, end = 0, len(literal.rstrip())
    while at < end:
        token = _TOKEN.match(literal, at)
        if token is None:
            raise ValueError(f"its header has {literal[at : at + 20]!r} at {at}")
        text, number, truth, mark = token.groups()
        if mark in (")", "]", "}") and found[-1:] == [","]:
            del found[-1]
        if text is not None:
            found.append(f'"{text[1:-1]}"')
        elif number is not None:
            found.append(str(int(number)))
        else:
            found.append(truth.lower() if truth else {"(": "[", ")": "]"}.get(mark, mark))
        at = token.end()
    return "".join(found)


def _shape(sides: object) -> tuple[int, ...]:
    if not isinstance(sides, list) or len(sides) > MOST_AXES or not all(type(side) is int for side in sides):
        raise ValueError("its shape is no tuple of a few whole numbers")
    return tuple(sides)


def _dtype(description: object) -> np.dtype[Any]:
    """One type, or a table of named columns."""
    if isinstance(description, str):
        return _plain(description)
    if not isinstance(description, list) or not 0 < len(description) <= 64:
        raise ValueError("its descr is neither a type nor a table")
    columns: list[tuple[str, np.dtype[Any]]] = []
    for column in description:
        if not isinstance(column, list) or len(column) != 2 or not all(isinstance(word, str) for word in column):
            raise ValueError("its table has columns other than a name and a type")
        columns.append((column[0], _plain(column[1])))
    return np.dtype(columns)


def _plain(name: str) -> np.dtype[Any]:
    if not _DTYPE.fullmatch(name):
        raise ValueError(f"it has no type `{name[:40]}`")
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would be a pickle, and is not loaded")
    if dtype.itemsize == 0 or dtype.itemsize > {"f": 8, "c": 16}.get(dtype.kind, 2**16):
        raise ValueError(f"its values take {dtype.itemsize} bytes each; expected no more than a double")
    return dtype
