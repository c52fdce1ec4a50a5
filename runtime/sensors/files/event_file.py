"""Events from files of any format, known by their first bytes; those of N-Caltech101 by their suffix alone."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.aedat4 import MARK, OLDER, read_aedat4
from advcal_edge.runtime.sensors.files.atis import SUFFIX, read_atis
from advcal_edge.runtime.sensors.files.event_hdf5 import as_npy, read_event_hdf5
from advcal_edge.runtime.sensors.files.event_npz import ZIP, read_event_npz
from advcal_edge.runtime.sensors.files.event_text import read_event_text
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.prophesee import is_prophesee, read_prophesee
from advcal_edge.runtime.sensors.files.sensor_file import HDF5, NPY, read_magic
from advcal_edge.runtime.sensors.frame import Array

KNOWN = {
    OLDER: (
        "an AEDAT file older than version 4",
        "save it as an array: `numpy.save('events.npy', events)` of (n, 4), columns t, x, y, p",
    ),
    b"Event Stream": (
        "an Event Stream file (.es)",
        "`faery.events_stream_from_file('a.es').to_file('a.csv')` of the package faery saves it as text",
    ),
    b"#ROSBAG": ("a ROS bag", "event messages of bags are not read; save them as an array of t, x, y, p"),
}
"""First bytes of formats that are known and not read: their names, and the way in."""


def read_event_file(path: Path, columns: tuple[str, ...] = ()) -> Array:
    """The events in the file: (n, c) with `columns`, by default t, x, y, p, or (n,) with these fields.

    Raises:
        InputError: missing, broken, of another format or layout, or with too many events.
        DependencyError: the library that reads this format is not installed.
    """
    magic = read_magic(path)
    if magic.startswith(NPY):
        return decode_file(path)
    if magic.startswith(ZIP):
        return read_event_npz(path, columns)
    if magic.startswith(MARK):
        return read_aedat4(path)
    if is_prophesee(magic):
        return read_prophesee(path)
    if magic.startswith(HDF5):
        return read_event_hdf5(path)
    if path.suffix.lower() == SUFFIX:
        return read_atis(path)
    for mark, (name, hint) in KNOWN.items():
        if magic.startswith(mark):
            raise InputError(f"`{path}` is {name}, which is not read", hint=hint)
    if b"\0" not in magic:
        return read_event_text(path, columns)
    raise InputError(
        f"`{path}` is none of the formats npy, npz, HDF5, text, AEDAT 4, Prophesee's RAW and DAT, or {SUFFIX};"
        " expected a recording of events",
        hint=as_npy(path),
    )
