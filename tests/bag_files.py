"""Bags written by rosbags' own writers, of messages that are plain namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

rosbags = pytest.importorskip("rosbags.typesys", reason="no rosbags to write bags with")

from rosbags.rosbag1 import Writer as Writer1  # noqa: E402
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer as Writer2  # noqa: E402

from advcal_edge.runtime.bags.definitions import typestore  # noqa: E402

Stamped = tuple[int, SimpleNamespace]
Topics = Mapping[str, tuple[str, Iterable[Stamped]]]

FORMATS = ("bag", "db3", "mcap")
NUMBERS = {"byte": "uint8", "char": "uint8", "octet": "uint8"}


def typed(store: Any, kind: str, message: Any) -> Any:
    """A message of rosbags with the fields of a namespace; what it does not have is 0 or empty."""
    return store.types[kind](*(fill(store, what, getattr(message, name, None)) for name, what in fields(store, kind)))


def fields(store: Any, kind: str) -> list[tuple[str, Any]]:
    return list(store.fielddefs[kind][1])


def fill(store: Any, described: Any, value: Any) -> Any:
    """A field as rosbags holds it."""
    form, what = described[0].name, described[1]
    if form == "NAME":
        return typed(store, what, value)
    if form == "BASE":
        return value if value is not None else {"string": "", "bool": False}.get(what[0], 0)
    (inner_form, inner), length = what
    if inner_form.name == "NAME":
        return [typed(store, inner, one) for one in value or []]
    values = np.zeros(length) if value is None else value
    if isinstance(values, bytes):
        return np.frombuffer(values, np.uint8)
    return np.array(values, NUMBERS.get(inner[0], inner[0]))


def write_bag(folder: Path, form: str, topics: Topics, *, packed: str = "") -> Path:
    """A bag: the file of ROS 1, or the folder of ROS 2. `packed` is one of bz2, lz4 (ROS 1), file, message, storage."""
    store: Any = typestore(form == "bag")
    path = folder / ("run.bag" if form == "bag" else f"run_{form}")
    if form == "bag":
        writer: Any = Writer1(path)
        if packed:
            writer.set_compression(Writer1.CompressionFormat[packed.upper()])
    else:
        writer = Writer2(path, version=8, storage_plugin=StoragePlugin[{"db3": "SQLITE3", "mcap": "MCAP"}[form]])
        if packed:
            writer.set_compression(CompressionMode[packed.upper()], CompressionFormat.ZSTD)
    with writer:
        waiting = []
        for topic, (kind, messages) in topics.items():
            connection = writer.add_connection(topic, kind, typestore=store)
            waiting += [(at, topic, kind, connection, message) for at, message in messages]
        for at, _, kind, connection, message in sorted(waiting, key=lambda one: one[:2]):
            whole = typed(store, kind, message)
            raw = store.serialize_ros1(whole, kind) if form == "bag" else store.serialize_cdr(whole, kind)
            writer.write(connection, at, raw)
    return path


def only_file(path: Path) -> Path:
    """The single file of a bag."""
    if path.is_file():
        return path
    (file,) = (file for file in path.iterdir() if file.name != "metadata.yaml")
    return file
