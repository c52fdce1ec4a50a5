"""Points from .las and .laz files of the ASPRS, versions 1.0 to 1.4: whole numbers times a scale plus an offset.

Rows of .las have a fixed size and are read here. Those of .laz are compressed, and laspy with lazrs unpacks them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, read_sensor_file

MAGIC = b"LASF"
COMPRESSED = 0x80
SMALLEST = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
"""Bytes of a point of each format."""

RECORD = 54
"""Bytes of the header of a record between the header of the file and its points."""

PART = 2**18
"""Points that are unpacked at a time."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What the public header block says."""

    compressed: bool
    start: int
    length: int
    points: int
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    end: int
    """Where the points end by the header: the size of the file, or where waveforms or long records begin."""

    @property
    def slack(self) -> NDArray[np.float64]:
        """How far points may leave the box by rounding; writers compute it before or after that."""
        slack: NDArray[np.float64] = 2 * self.scale + 1e-6 * (self.high - self.low)
        return slack


def read_las(path: Path, assume: bool = False) -> NDArray[np.float64]:
    """The points (p, 3) of a file, in its units; `assume` believes them where they leave the box of the header.

    Raises:
        InputError: the file is broken, truncated, or holds other points than its header claims.
        DependencyError: it is compressed, and laspy or lazrs is not installed.
    """
    data = read_sensor_file(path)
    try:
        header = _read_header(data)
        limits.POINTS.check(header.points, f"`{path}`", InputError)
        limits.SENSOR_BYTES.check(header.points * header.length, f"`{path}`, unpacked,", InputError)
        counts = _unpack(data, header) if header.compressed else _read(data, header)
        with np.errstate(over="ignore", invalid="ignore"):
            points: NDArray[np.float64] = counts * header.scale + header.offset
    except (ValueError, MemoryError, struct.error) as error:
        raise InputError(f"`{path}` is no readable .las or .laz file: {error}", hint=AGAIN) from error
    low, high = points.min(axis=0), points.max(axis=0)
    if (
        not assume
        and (header.low < header.high).all()
        and not ((low >= header.low - header.slack).all() and (high <= header.high + header.slack).all())
    ):
        raise InputError(
            f"`{path}` holds points from {low.tolist()} to {high.tolist()}; its header says from {header.low.tolist()}"
            f" to {header.high.tolist()}",
            hint=f"{AGAIN}; if only its header is out of date: `--set input.assume_units=yes`",
        )
    return points


def _read_header(data: bytes) -> _Header:
    major, minor = data[24:26]
    size, start, records, kind, length, points = struct.unpack_from("<HIIBHI", data, 94)
    scale, offset = np.frombuffer(data, "<f8", 6, 131).reshape(2, 3)
    if (major, minor) not in [(1, version) for version in range(5)] or size < 227:
        raise ValueError(f"its version is {major}.{minor} with a header of {size} bytes; expected 1.0 to 1.4")
    format_ = kind & ~COMPRESSED & ~0x40
    if length < SMALLEST.get(format_, 2**16):
        raise ValueError(f"its points are of format {format_} with {length} bytes each")
    if not (np.isfinite([scale, offset]).all() and (scale > 0).all()):
        raise ValueError(f"its scale is {scale.tolist()} and its offset {offset.tolist()}")
    end = len(data)
    if minor >= 4:
        waveforms, later, count, points_of_14 = struct.unpack_from("<QQIQ", data, 227)
        points = points_of_14 or points
        end = min([end, *(place for place, used in ((waveforms, format_ in (4, 5, 9, 10)), (later, count)) if used)])
    elif minor == 3 and format_ in (4, 5):
        end = min(end, struct.unpack_from("<Q", data, 227)[0] or end)
    if not size + RECORD * records <= start <= end or points == 0:
        raise ValueError(f"it claims {points} points from byte {start} of {len(data)}, after {records} records")
    high, low = np.frombuffer(data, "<f8", 6, 179).reshape(3, 2).T
    return _Header(bool(kind & COMPRESSED), start, length, points, scale, offset, low, high, end)


def _read(data: bytes, header: _Header) -> NDArray[np.float64]:
    left = header.end - header.start
    if left // header.length != header.points:
        raise ValueError(f"it holds {left // header.length} points; its header claims {header.points}")
    rows = np.frombuffer(data, np.uint8, header.points * header.length, header.start).reshape(-1, header.length)
    return np.ascontiguousarray(rows[:, :12]).view("<i4").astype(np.float64)


def _unpack(data: bytes, header: _Header) -> NDArray[np.float64]:
    """Whole numbers (p, 3) of compressed points."""
    laspy = _load_laspy()
    _check_chunks(data, header)
    parts: list[NDArray[Any]] = []
    try:
        with laspy.open(BytesIO(data), laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False) as file:
            parts += [np.stack([part.X, part.Y, part.Z], axis=1) for part in file.chunk_iterator(PART)]
    except MemoryError:
        raise
    except BaseException as error:  # lazrs is Rust, whose panics are no `Exception`
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise ValueError(f"its compressed points cannot be unpacked: {error}") from error
    points = sum(map(len, parts))
    if points != header.points:
        raise ValueError(f"it holds {points} points; its header claims {header.points}")
    return np.concatenate(parts).astype(np.float64)


def _check_chunks(data: bytes, header: _Header) -> None:
    """Compare what the table of chunks claims with the file, before memory is allocated for it."""
    (table,) = struct.unpack_from("<q", data, header.start)
    if table == -1:  # written to a stream: the place stands at the end
        (table,) = struct.unpack_from("<q", data, len(data) - 8)
    if not header.start + 8 <= table <= len(data) - 8:
        raise ValueError("its table of chunks lies outside the file")
    _, chunks = struct.unpack_from("<II", data, table)
    if chunks > min(header.points, len(data)):
        raise ValueError(f"its {len(data)} bytes claim {chunks} chunks of {header.points} points")


def _load_laspy() -> Any:
    """laspy, with a library that unpacks.

    Raises:
        DependencyError: one of the two is not installed.
    """
    try:
        import_module("lazrs")
        return import_module("laspy")
    except ModuleNotFoundError as error:
        package = "lazrs" if error.name == "lazrs" else "laspy"
        raise DependencyError(package, extra="las", purpose="reading compressed points (.laz)") from error
