"""Events from AEDAT 4 files, which cameras of iniVation write, through the package `aedat`.

That package aborts the process where the description of the streams is damaged, and unpacks packets to any size. So
what stands around the packets is checked here first: their sizes, which must fill the file, the description, and how
much each packet can unpack to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, open_sensor_file
from advcal_edge.runtime.sensors.frame import Array

MARK = b"#!AER-DAT4"
MAGIC = b"#!AER-DAT4.0\r\n"
OLDER = b"#!AER-DAT"

NOT_PACKED, LZ4, ZSTD = (0,), (1, 2), (3, 4)
LZ4_RATIO = 255
ZSTD_MAGIC, ZSTD_BLOCK = 0xFD2FB528, 2**17
"""First bytes of a frame of Zstandard (RFC 8878), and the most bytes that one of its blocks unpacks to."""


def read_aedat4(path: Path) -> Array:
    """The events (n,) of the first stream of events in a file, with the fields t in microseconds, x, y, p.

    Raises:
        InputError: missing, truncated, damaged, without events, with too many, or with packets that unpack to too much.
        DependencyError: aedat is not installed.
    """
    where = f"`{path}`"
    try:
        import aedat
    except ImportError as error:
        raise DependencyError("aedat", extra="events", purpose="reading events from AEDAT 4") from error
    with open_sensor_file(path) as file:
        try:
            _check(file.read(), where)
            return _read(aedat.Decoder(f"/proc/self/fd/{file.fileno()}"), where)
        except InputError:
            raise
        except (ValueError, struct.error, RuntimeError, MemoryError, OverflowError) as error:
            raise InputError(
                f"{where} is no whole AEDAT 4 file: {' '.join(str(error).split())[:200]}", hint=AGAIN
            ) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust, and no Exception
                raise
            raise InputError(f"{where} is no whole AEDAT 4 file: its reader gave up", hint=AGAIN) from None


def _read(decoder: Any, where: str) -> Array:
    streams = {number: stream for number, stream in decoder.id_to_stream().items() if stream["type"] == "events"}
    if not streams:
        raise InputError(f"{where} has no stream of events", hint="record with the events switched on")
    first, parts, count = min(streams), [], 0
    for packet in decoder:
        if packet["stream_id"] == first and "events" in packet:
            count += len(packet["events"])
            limits.EVENTS.check(count, where, InputError)
            parts.append(np.array(packet["events"]))
    if not parts:
        raise InputError(f"{where} holds 0 events; expected at least one", hint="record for longer, with the lens open")
    found = np.concatenate(parts)
    events = np.empty(len(found), [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
    for name in ("t", "x", "y", "p"):
        events[name] = found[name]
    height, width = streams[first]["height"], streams[first]["width"]
    if events["y"].max() >= height or events["x"].max() >= width:
        sides = f"x {events['x'].max()}, y {events['y'].max()}"
        raise InputError(
            f"{where} holds events up to {sides}; its camera is {width} x {height}",
            hint=AGAIN,
        )
    return events


def _check(data: bytes, where: str) -> None:
    """Check all that stands around the packets.

    Raises:
        ValueError, struct.error: damaged, or cut off.
        InputError: a packet can unpack to too much.
    """
    if not data.startswith(MAGIC):
        raise ValueError(f"it begins with {data[:14]!r}")
    (length,) = struct.unpack_from("<I", data, len(MAGIC))
    start = len(MAGIC) + 4 + length
    packing, table = _read_header(data[len(MAGIC) + 4 : start])
    end = len(data) if table < 0 else table
    for at, size in _packets(data, start, end):
        if packing in LZ4:
            most = size * LZ4_RATIO
        elif packing in ZSTD:
            most = _unpacked(data[at : at + size])
        else:
            most = size
        limits.SENSOR_BYTES.check(most, f"{where} at worst, a packet", InputError)


def _packets(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each packet begins, and its size."""
    if not at <= end <= len(data):
        raise ValueError(f"its packets go from byte {at} to {end} of {len(data)}")
    while at < end:
        _, size = struct.unpack_from("<ii", data, at)
        at += 8
        if not 0 < size <= end - at:
            raise ValueError(f"a packet of {size} bytes begins at byte {at}, of {end}")
        yield at, size
        at += size


def _read_header(header: bytes) -> tuple[int, int]:
    """How packets are packed, and where the table behind them begins; -1 without one.

    A header is a FlatBuffers table of three fields: the packing, that place, and a description in XML.
    """
    (table,) = struct.unpack_from("<I", header)
    if header[4:8] != b"IOHE":
        raise ValueError(f"its header is marked {header[4:8]!r}")
    (back,) = struct.unpack_from("<i", header, table)
    (size,) = struct.unpack_from("<H", header, table - back)
    places = [
        struct.unpack_from("<H", header, table - back + 4 + 2 * index)[0] if size >= 6 + 2 * index else 0
        for index in range(3)
    ]
    packing = struct.unpack_from("<i", header, table + places[0])[0] if places[0] else 0
    behind = struct.unpack_from("<q", header, table + places[1])[0] if places[1] else -1
    if packing not in NOT_PACKED + LZ4 + ZSTD:
        raise ValueError(f"its packing is of type {packing}")
    text = table + places[2]
    text += struct.unpack_from("<I", header, text)[0]
    (length,) = struct.unpack_from("<I", header, text)
    description = header[text + 4 : text + 4 + length]
    if len(description) < length or not description.isascii() or b"\0" in description:
        raise ValueError("its description is no text")
    return packing, behind


def _unpacked(frame: bytes) -> int:
    """The most bytes that a frame of Zstandard unpacks to, from the sizes of its blocks."""
    magic, descriptor = struct.unpack_from("<IB", frame)
    if magic != ZSTD_MAGIC:
        raise ValueError("a packet is not in Zstandard's format")
    single = descriptor >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    most, last = 0, 0
    while not last:
        block = int.from_bytes(frame[at : at + 3], "little") if at + 3 <= len(frame) else -1
        if block < 0:
            raise ValueError("a packet in Zstandard's format is cut off")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        most += ZSTD_BLOCK if kind == 2 else size
        at += 3 + (1 if kind == 1 else size)
    if at + 4 * (descriptor >> 2 & 1) != len(frame):
        raise ValueError("a packet in Zstandard's format holds more than a frame")
    return most
