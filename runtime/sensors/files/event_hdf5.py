"""Events from HDF5: datasets `t`, `x`, `y`, `p` in a group `events` (as DSEC) or at the root, or one table `events` or
`CD/events` (as Prophesee) with these fields.

Unpacked sizes are checked before reading: HDF5 itself unpacks a chunk to any size, even if its header claims less.
"""

from __future__ import annotations

import shlex
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import AdvcalError, DependencyError, InputError
from advcal_edge.runtime.sensors.event_columns import FIELDS
from advcal_edge.runtime.sensors.files.hdf5_chunks import UNPACKERS, read_chunks
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, open_sensor_file, quoted
from advcal_edge.runtime.sensors.frame import Array

TABLES = ("CD/events", "events")
LAYOUTS = "datasets t, x, y, p in the group `events` or at the root, or a table `events` or `CD/events`"

DEFLATE, SHUFFLE, CHECKSUM, LZF = 1, 2, 3, 32000
"""Numbers of the filters with a known bound on their output."""

FIRST_PLUGIN = 256

DEFLATE_RATIO, LZF_RATIO = 1032, 88
"""Maximum bytes that one byte can unpack to."""

HARMLESS_BYTES = 16 * limits.MIB
"""Chunks that cannot unpack to more are not checked before reading."""

UNPACKED = [[number] for number in UNPACKERS]
"""Filters that HDF5 does not have, each alone."""


def read_event_hdf5(path: Path) -> Array:
    """The events in the file: (n, c), or (n,) with the fields t, x, y, p.

    Raises:
        InputError: missing, broken, of another layout, with too many events, or packed in a way that is not read.
        DependencyError: h5py, or the library for its packing, is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DependencyError("h5py", extra="sensors", purpose="reading events from HDF5") from error
    with open_sensor_file(path) as raw:
        try:
            with h5py.File(f"/proc/self/fd/{raw.fileno()}", "r") as file:
                return _read_hdf5(file, path)
        except AdvcalError:
            raise
        except Exception as error:  # h5py maps its library's errors to almost any exception
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"`{path}` is no readable HDF5 file: {reason}", hint=AGAIN) from error


def _read_hdf5(file: Any, path: Path) -> Array:
    for name in TABLES:
        if _is_dataset(file, name):
            return _rows(_check(file[name], path))
    for group in ("events/", ""):
        names = [group + field for field in FIELDS]
        if all(_is_dataset(file, name) for name in names):
            columns = {name[-1]: _check(file[name], path) for name in names}
            if len({column.shape for column in columns.values()}) != 1 or columns["t"].ndim != 1:
                shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
                raise InputError(f"`{path}` holds columns of different lengths: {shapes}", hint=as_npy(path))
            events = np.empty(columns["t"].shape, [(name, column.dtype) for name, column in columns.items()])
            for name, column in columns.items():
                events[name] = _rows(column)
            return events
    there = ", ".join(name[:40] for name, _ in zip(file, range(8), strict=False))
    raise InputError(f"`{path}` holds {there or 'nothing'}; expected {LAYOUTS}", hint=as_npy(path))


def _rows(dataset: Any) -> Array:
    packing = _filters(dataset)
    return read_chunks(dataset, packing[0]) if packing in UNPACKED else np.asarray(dataset[:])


def _filters(dataset: Any) -> list[int]:
    """The numbers of the filters that chunks pass, first to last."""
    settings = dataset.id.get_create_plist()
    return [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]


def _is_dataset(file: Any, name: str) -> bool:
    """Does the file itself hold this dataset? Links into other files are not followed."""
    at = file
    for part in name.split("/"):
        link = at.get(part, getlink=True) if hasattr(at, "keys") else None
        if type(link).__name__ != "HardLink":
            return False
        at = at[part]
    return hasattr(at, "dtype") and not hasattr(at, "keys")


def _check(dataset: Any, path: Path) -> Any:
    """The dataset, if it is in this file, holds plain numbers, and does not unpack to too much."""
    where = f"`{path}`, in `{dataset.name[:40]}`,"
    if dataset.external or dataset.is_virtual:
        raise InputError(f"{where} takes data out of other files; expected all of it in one file", hint=as_npy(path))
    fields = dataset.dtype.fields
    kinds = [dataset.dtype] if fields is None else [kind for kind, *_ in fields.values()]
    plain = all(kind.kind in "biuf" and kind.itemsize <= 8 and kind.shape == () for kind in kinds)
    wide = dataset.ndim == 2 and dataset.shape[1] > len(FIELDS)
    if not plain or len(kinds) > 16 or dataset.ndim not in (1, 2) or wide:
        raise InputError(f"{where} holds {dataset.shape} {dataset.dtype}; expected {LAYOUTS}", hint=as_npy(path))
    limits.EVENTS.check(dataset.shape[0], where, InputError)
    limits.EVENT_RATIO.check(dataset.nbytes / path.stat().st_size, where, InputError)
    limits.SENSOR_BYTES.check(dataset.nbytes, where, InputError)
    if dataset.chunks is not None:
        _check_chunks(dataset, path, where)
    return dataset


def _check_chunks(dataset: Any, path: Path, where: str) -> None:
    size = dataset.dtype.itemsize * int(np.prod(dataset.chunks, dtype=object))
    limits.EVENT_CHUNK_BYTES.check(size, f"{where} a chunk", InputError)
    limits.EVENT_CHUNKS.check(dataset.id.get_num_chunks(), where, InputError)
    largest = size + size // 8 + 1024  # incompressible data is stored with a little overhead
    filters = _filters(dataset)
    if filters in UNPACKED and dataset.ndim == 1:
        return
    if not set(filters) <= {DEFLATE, SHUFFLE, CHECKSUM, LZF} or sum(each in (DEFLATE, LZF) for each in filters) > 1:
        raise InputError(
            f"{where} is packed by the filters {filters}; expected gzip, lzf, Blosc or Prophesee's ECF alone",
            hint=_unpacked(path, plugin=any(each >= FIRST_PLUGIN for each in filters)),
        )
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if chunk.size > largest:
            raise InputError(f"{where} has a chunk of {chunk.size} bytes; expected at most {largest}", hint=AGAIN)
        if DEFLATE in filters and chunk.size * DEFLATE_RATIO > HARMLESS_BYTES:
            _, packed = dataset.id.read_direct_chunk(chunk.chunk_offset)
            if len(zlib.decompressobj().decompress(packed, size + 1)) > size:
                raise InputError(f"{where} has a chunk of more than its {size} bytes", hint=AGAIN)
        elif LZF in filters:
            limits.SENSOR_BYTES.check(chunk.size * LZF_RATIO, f"{where} at worst, a chunk", InputError)


def as_npy(path: Path) -> str:
    """How to store events in the simplest form."""
    return f"`numpy.save('events.npy', events)` of (n, 4), columns t, x, y, p, is the simplest form of {quoted(path)}"


def _unpacked(path: Path, *, plugin: bool) -> str:
    """The command that stores a file without filters."""
    code = (
        f"import {'hdf5plugin, ' if plugin else ''}h5py, sys; "
        'a, b = h5py.File(sys.argv[1]), h5py.File(sys.argv[2], "w"); '
        'a.visititems(lambda n, d: b.__setitem__(n, d[()]) if hasattr(d, "shape") else None)'
    )
    return f"`python -c {shlex.quote(code)} {quoted(path)} events.h5` stores it without"
