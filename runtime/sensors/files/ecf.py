"""Chunks of events that Prophesee's ECF codec packed, unpacked in numpy.

The codec is published at github.com/prophesee-ai/hdf5_ecf; no package on the index brings it. A chunk holds a word of
32 bits (number of events, and how places are packed), the first time, and then streams of times, rows, columns and
polarities. Runs of equal values are stored once with their length.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from advcal_edge.runtime.sensors.frame import Array

FILTER = 0x8ECF
EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")], align=True)
MOST_EVENTS = 65_535

SIDE = 2**11
LONG = 15
"""A step or a length of four bits that says that more bits follow."""


def unpack_ecf(data: bytes) -> Array:
    """The events (n,) of a chunk, with the fields x, y, p, t.

    Raises:
        ValueError: the chunk is damaged or cut off.
    """
    try:
        return _unpack(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a chunk is cut off: {error}") from error


def _unpack(data: bytes) -> Array:
    word, first = struct.unpack_from("<IQ", data)
    count = word >> 2
    if not 0 < count <= MOST_EVENTS:
        raise ValueError(f"a chunk says it holds {count} events; expected 1 to {MOST_EVENTS}")
    events = np.empty(count, EVENT)
    events["t"], at = _times(data, 12, first, count)
    if word & 2:
        packed = _packed(data, at, count, "<u4", 24)
        events["y"], events["x"], events["p"] = packed >> 12 & (SIDE - 1), packed >> 1 & (SIDE - 1), packed & 1
        return events
    events["y"], at = _rows(data, at, count)
    if word & 1:
        packed = _packed(data, at, count, "<u2", 12)
        events["x"], events["p"] = packed >> 1, packed & 1
        return events
    events["x"], at = _columns(data, at, count)
    events["p"] = _polarities(data, at, count)
    return events


def _times(data: bytes, at: int, time: int, count: int) -> tuple[NDArray[np.int64], int]:
    """Times, in bytes of a step and a number of events each, four bits; the place behind them."""
    values, lengths, left = [], [], count
    while left > 0:
        step, length = data[at] >> 4, data[at] & LONG
        at += 1
        if step == LONG:  # a longer step, four bits a byte from the lowest on
            shift = 0
            while step == LONG:
                time += length << shift
                shift += 4
                step, length = data[at] >> 4, data[at] & LONG
                at += 1
        time += step
        if length == LONG:
            (length,) = struct.unpack_from("<H", data, at)
            at += 2
        values.append(time)
        lengths.append(length)
        left -= length
    if left < 0 or time >= 2**63:
        raise ValueError("a chunk holds more times than events, or times beyond any clock")
    return np.repeat(np.array(values, np.int64), lengths), at


def _rows(data: bytes, at: int, count: int) -> tuple[Array, int]:
    """Rows, in words of a row of 11 bits and a number of events of 5; 31 says that it follows."""
    values, lengths, left = [], [], count
    while left > 0:
        (word,) = struct.unpack_from("<H", data, at)
        at += 2
        length = word & 31
        if length == 31:
            (length,) = struct.unpack_from("<H", data, at)
            at += 2
        values.append(word >> 5)
        lengths.append(length)
        left -= length
    if left < 0:
        raise ValueError("a chunk holds more rows than events")
    return np.repeat(values, lengths), at


def _columns(data: bytes, at: int, count: int) -> tuple[Array, int]:
    """Columns, in words of a column of 11 bits and a bit for each of the next five, from the highest on."""
    words = np.frombuffer(data, "<u2", count=min(count, (len(data) - at) // 2), offset=at)
    there = np.ones((len(words), 6), bool)
    there[:, 1:] = words[:, None] >> np.arange(4, -1, -1, dtype=np.uint16) & 1
    last = int(np.searchsorted(np.cumsum(there.sum(axis=1)), count))
    which, offsets = np.nonzero(there[: last + 1])
    if len(which) != count:
        raise ValueError(f"a chunk holds {len(which)} columns for {count} events")
    return (words >> 5)[which] + offsets, at + 2 * (last + 1)


def _polarities(data: bytes, at: int, count: int) -> Array:
    """Polarities, in bytes of one bit and a number of events of 7; 127 says that it follows."""
    values, lengths, left = [], [], count
    while left > 0:
        polarity, length = data[at] >> 7, data[at] & 127
        at += 1
        if length == 127:
            (length,) = struct.unpack_from("<H", data, at)
            at += 2
        values.append(polarity)
        lengths.append(length)
        left -= length
    if left < 0:
        raise ValueError("a chunk holds more polarities than events")
    return np.repeat(values, lengths)


def _packed(data: bytes, at: int, count: int, dtype: str, bits: int) -> Array:
    """Numbers of `bits` bits, four in three words, highest bits first."""
    fours = -(-count // 4)
    words = np.frombuffer(data, dtype, count=3 * fours, offset=at).reshape(fours, 3).astype(np.uint64)
    size = np.uint64(8 * np.dtype(dtype).itemsize)
    mask = np.uint64(2**bits - 1)
    first, second, third = words.T
    spare = size - np.uint64(bits)  # a word holds one number, and this many bits of the next
    low = np.uint64(2) ** spare - np.uint64(1)
    numbers = np.stack(
        [
            first >> spare,
            # the highest bits of a split number are in the word after its lowest
            (first & low) | (second >> np.uint64(2) * spare) << spare,
            (second & np.uint64(2 ** (2 * int(spare)) - 1)) | (third >> np.uint64(3) * spare) << np.uint64(2) * spare,
            third & mask,
        ],
        axis=1,
    )
    return numbers.reshape(-1)[:count] & mask
