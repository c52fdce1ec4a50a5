"""Chunks of HDF5 that the library itself cannot unpack: Blosc, as DSEC has it, and Prophesee's ECF.

The filters' plugins for HDF5 take 190 MB, or are not on the index at all, and unpack to any size. So the chunks are
taken as they are stored and unpacked here, to the size that the dataset claims or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from advcal_edge.errors import DependencyError
from advcal_edge.runtime.sensors.files.ecf import EVENT, FILTER, unpack_ecf
from advcal_edge.runtime.sensors.frame import Array

BLOSC, ECF = 32001, FILTER
BLOSC_HEADER = 16


def read_chunks(dataset: Any, packing: int) -> Array:
    """All rows of a dataset (n,) whose chunks are packed by one filter, `BLOSC` or `ECF`.

    Raises:
        ValueError: a chunk is damaged, missing, or of another size than the dataset says.
        DependencyError: blosc is not installed.
    """
    unpack = UNPACKERS[packing]
    (rows,), (size,) = dataset.shape, dataset.chunks
    found = np.empty(rows, dataset.dtype)
    for start in range(0, rows, size):
        skipped, data = dataset.id.read_direct_chunk((start,))
        part = np.frombuffer(data, dataset.dtype) if skipped else unpack(data, dataset.dtype, size)
        needed = min(size, rows - start)
        if len(part) < needed:
            raise ValueError(f"a chunk holds {len(part)} rows; expected {needed}")
        found[start : start + needed] = part[:needed]
    return found


def _unpack_blosc(data: bytes, dtype: np.dtype[Any], rows: int) -> Array:
    try:
        import blosc
    except ImportError as error:
        raise DependencyError("blosc", extra="events", purpose="reading HDF5 that Blosc packed") from error
    if len(data) < BLOSC_HEADER:
        raise ValueError(f"a chunk has {len(data)} bytes")
    _, _, unpacked, _, packed = struct.unpack_from("<HHIII", data)
    if unpacked != rows * dtype.itemsize or packed != len(data):
        raise ValueError(
            f"a chunk of {len(data)} bytes says it has {packed} and unpacks to {unpacked}; expected"
            f" {rows * dtype.itemsize}"
        )
    try:
        content: bytes = blosc.decompress(data)
    except Exception as error:  # `blosc.blosc_extension.error`, whose name differs between versions
        raise ValueError(f"a chunk cannot be unpacked: {error}") from error
    return np.frombuffer(content, dtype)


def _unpack_ecf(data: bytes, dtype: np.dtype[Any], rows: int) -> Array:
    if set(dtype.names or ()) != set(EVENT.names or ()):
        raise ValueError(f"its rows are {dtype}; expected the fields x, y, p, t")
    events = unpack_ecf(data)
    found = np.empty(len(events), dtype)
    for name in EVENT.names or ():
        found[name] = events[name]
    return found


UNPACKERS: Mapping[int, Callable[[bytes, np.dtype[Any], int], Array]] = {BLOSC: _unpack_blosc, ECF: _unpack_ecf}
"""What unpacks the chunks of a filter, where it is the only one of a dataset."""
