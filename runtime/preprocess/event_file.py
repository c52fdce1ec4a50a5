"""Events from .npy and HDF5 files.

HDF5 files hold datasets `t`, `x`, `y`, `p` in a group `events` (as DSEC) or at the root, or one table `events` or
`CD/events` (as Prophesee) with these fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.preprocess.frame import Array
from advcal_edge.runtime.preprocess.magic import HDF5, NPY, read_magic
from advcal_edge.runtime.preprocess.reader import decode_file

FIELDS = ("t", "x", "y", "p")
TABLES = ("CD/events", "events")
LAYOUTS = "datasets t, x, y, p in the group `events` or at the root, or a table `events` or `CD/events`"


def read_event_file(path: Path, most: int) -> Array:
    """What the file holds: (n, 4), or (n,) with fields t, x, y, p; at most `most` events are ever read.

    Raises:
        InputError: missing, broken, of another format or layout, or with too many events.
        DependencyError: the file is HDF5 and h5py is not installed.
    """
    magic = read_magic(path)
    if magic.startswith(NPY):
        return decode_file(path)
    if not magic.startswith(HDF5):
        raise InputError(f"`{path}` is neither npy nor HDF5; expected a recording of events")
    try:
        import h5py
    except ImportError as error:
        raise DependencyError("h5py", extra="sensors", purpose="reading events from HDF5") from error
    try:
        with h5py.File(path, "r") as file:
            return _read_hdf5(file, path, most)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        hint = "compressed with a plugin? `import hdf5plugin` and store the events as .npy"
        raise InputError(f"`{path}` is no readable HDF5 file: {error}", hint=hint) from error


def _read_hdf5(file: Any, path: Path, most: int) -> Array:
    for name in TABLES:
        if _is_dataset(file, name):
            return np.asarray(_checked(file[name], path, most)[:])
    for group in ("events/", ""):
        names = [group + field for field in FIELDS]
        if all(_is_dataset(file, name) for name in names):
            columns = {name[-1]: _checked(file[name], path, most) for name in names}
            if len({column.shape for column in columns.values()}) != 1:
                found = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
                raise InputError(f"`{path}` holds columns of different lengths: {found}")
            events = np.empty(columns["t"].shape, [(name, column.dtype) for name, column in columns.items()])
            for name, column in columns.items():
                events[name] = column[:]
            return events
    raise InputError(f"`{path}` holds {', '.join(list(file)[:8]) or 'nothing'}; expected {LAYOUTS}")


def _is_dataset(file: Any, name: str) -> bool:
    """Whether the file itself holds this dataset; links into other files are not followed."""
    at = file
    for part in name.split("/"):
        link = at.get(part, getlink=True) if hasattr(at, "keys") else None
        if type(link).__name__ != "HardLink":
            return False
        at = at[part]
    return hasattr(at, "dtype") and not hasattr(at, "keys")


def _checked(dataset: Any, path: Path, most: int) -> Any:
    """The dataset, if it lies in this very file and is no larger than it may be."""
    if dataset.external or dataset.is_virtual:
        raise InputError(f"`{path}` takes `{dataset.name}` out of other files; expected all of it in one file")
    if dataset.ndim not in (1, 2) or not dataset.dtype.itemsize <= 64 or dataset.shape[0] > most:
        raise InputError(
            f"`{path}` holds {dataset.shape} {dataset.dtype} in `{dataset.name}`; expected at most {most} events"
        )
    if dataset.ndim == 2 and dataset.shape[1] > len(FIELDS):
        raise InputError(f"`{path}` holds {dataset.shape} in `{dataset.name}`; expected four columns")
    return dataset
