"""Bags through the package rosbags: ROS 1 (.bag), ROS 2 (.mcap, .db3), and folders of these with a metadata.yaml.

Messages are decoded by the definitions of `definitions.py`. What a bag says of its types is only compared with them:
rosbags would make code of it. A file that a killed recorder left, without its index, is refused with the command that
mends it; a compressed chunk is unpacked whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import limits
from advcal_edge.errors import AdvcalError, DependencyError, InputError, first_line
from advcal_edge.runtime.messages import Message, plain_kind
from advcal_edge.runtime.sensors.files.sensor_file import mending
from advcal_edge.storage import open_regular

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

METADATA = "metadata.yaml"
MAGIC = {b"#ROSBAG V": ".bag", b"\x89MCAP0\r\n": ".mcap", b"SQLite format 3\0": ".db3"}
PACKED = b"\x28\xb5\x2f\xfd"
SUFFIXES = tuple(MAGIC.values())


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a bag: its name, the type of its messages, their number; the type is empty if there are several."""

    name: str
    kind: str
    count: int
    connections: tuple[Connection, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind or 'several types'}, {self.count})"


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """An open bag."""

    path: Path
    topics: tuple[Topic, ...]
    reader: Any
    """Of rosbags."""
    is_ros1: bool

    def messages(self, topic: Topic) -> Iterator[tuple[int, bytes]]:
        """When each message of a topic was received, in nanoseconds, and its bytes, in the order of time.

        Raises:
            InputError: the bag cannot be read any further; the hint says how to mend it.
        """
        with _reading(self.path):
            for _, received, raw in self.reader.messages(connections=topic.connections):
                if not isinstance(received, int) or not isinstance(raw, bytes | memoryview):
                    raise ValueError(f"a message that is a {type(raw).__name__}")
                limits.SENSOR_BYTES.check(len(raw), f"a message of `{topic.name}`", InputError)
                yield received, bytes(raw)

    def decode(self, topic: Topic, raw: bytes) -> Message:
        """A message from its bytes.

        Raises:
            InputError: they are truncated or corrupt.
        """
        from advcal_edge.runtime.bags.definitions import typestore

        store, kind = typestore(self.is_ros1), topic.connections[0].msgtype
        try:
            return store.deserialize_ros1(raw, kind) if self.is_ros1 else store.deserialize_cdr(raw, kind)
        except Exception as error:  # the generated decoders raise whatever their bytes lead to
            raise InputError(
                f"a message of `{topic.name}`, {len(raw)} bytes, is no `{topic.kind}`: {first_line(error)[:200]}",
                hint="it was cut off or damaged; `--skip-bad` leaves such messages out",
            ) from error


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a bag and list its topics.

    Raises:
        InputError: no bag, or one that is truncated or corrupt; the hint says how to mend it.
        DependencyError: rosbags is not installed.
    """
    suffix = _identify(path)
    try:
        from rosbags.rosbag1 import Reader as Reader1
        from rosbags.rosbag2 import Reader as Reader2
    except ImportError as error:
        raise DependencyError("rosbags", extra="bags", purpose="reading bags") from error
    with _reading(path):
        reader: Any = Reader1(path) if suffix == ".bag" else Reader2(path)
        reader.open()
    try:
        with _reading(path):
            topics = tuple(
                Topic(str(name), plain_kind(found.msgtype or ""), int(found.msgcount), tuple(found.connections))
                for name, found in reader.topics.items()
            )
            for chunk in getattr(getattr(reader, "storage", None), "chunks", ()):
                limits.SENSOR_BYTES.check(chunk.uncompressed_size, f"a chunk of `{path}`", InputError)
        yield Bag(path, topics, reader, suffix == ".bag")
    finally:
        reader.close()


def looks_like_bag(path: Path) -> bool:
    """Has a path the name of a bag, or is it the folder of one?"""
    return path.suffix in SUFFIXES or (path / METADATA).is_file()


def _identify(path: Path) -> str:
    """The suffix of the format of a bag; empty for a folder."""
    if path.is_dir():
        _check_folder(path)
        return ""
    try:
        with open_regular(path, InputError) as file:
            head = file.read(16)
    except InputError as error:
        raise InputError(error.message, hint=mending(path)) from error
    if not head:
        raise InputError(f"`{path}` is empty: it has 0 bytes", hint="the recorder wrote nothing; record it again")
    suffix = next((suffix for magic, suffix in MAGIC.items() if head.startswith(magic)), None)
    if suffix is None:
        if head.startswith(PACKED):
            hint = f"it is packed: `zstd -d {_quoted(path)}`, or name the folder of the bag, whose {METADATA} says so"
        else:
            hint = f"a bag is a file {', '.join(SUFFIXES)}, or the folder of one with its {METADATA}"
        raise InputError(f"`{path}` is no bag: it begins with {head[:8]!r}", hint=hint)
    if suffix != ".bag" and path.suffix != suffix:
        raise InputError(
            f"`{path}` is a bag of the format {suffix[1:]}; expected the suffix `{suffix}`",
            hint=f"`mv {_quoted(path)} {_quoted(path.with_suffix(suffix))}`",
        )
    _check_database(path)
    return suffix


def _check_folder(path: Path) -> None:
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if (path / METADATA).is_file():
        limits.DOCUMENT_BYTES.check((path / METADATA).stat().st_size, f"`{path / METADATA}`", InputError)
        for file in files:
            _check_database(file)
        return
    if not files:
        raise InputError(
            f"`{path}` is a folder without bags; expected {METADATA} and files {', '.join(SUFFIXES)}",
            hint="name the folder that the recorder made, or a file in it",
        )
    hint = f"`ros2 bag reindex {_quoted(path)}` makes it"
    raise InputError(
        f"`{path}` has no {METADATA}: the recorder did not finish it; expected it beside {files[0].name}",
        hint=hint if files[0].suffix != ".bag" else f"name one of its files: `{_quoted(files[0])}`",
    )


def _check_database(path: Path) -> None:
    """Refuse a db3 part of whose messages is in a log beside it, and names that SQLite would take for another file."""
    if path.suffix != ".db3":
        return
    for log in (Path(f"{path}-wal"), Path(f"{path}-journal")):
        if log.is_file() and log.stat().st_size:
            raise InputError(
                f"`{path}` was not closed: messages are still in `{log.name}`; expected a bag that is complete",
                hint=f"`sqlite3 {_quoted(path)} 'PRAGMA wal_checkpoint(TRUNCATE)'` brings them in",
            )
    if any(sign in str(path) for sign in "?#%"):
        raise InputError(
            f"`{path}` has a `?`, `#` or `%` in its path; expected a path that can be part of a URI", hint="rename it"
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever rosbags raises about a broken bag into an InputError with the command that mends it."""
    try:
        yield
    except AdvcalError:
        raise
    except Exception as error:  # rosbags takes the sizes in a file at their word, so anything may follow
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> InputError:
    said = first_line(error)[:200]
    if isinstance(error, KeyError) and error.args in {("protobuf",), ("jsonschema",), ("flatbuffer",), ("ros1msg",)}:
        return InputError(
            f"`{path}` also holds messages described as {said}; expected those of ROS 2 alone",
            hint="`mcap filter` writes the topics of ROS into a bag of their own",
        )
    if any(word in said for word in ("Profile is not", "not supported")):
        return InputError(
            f"`{path}` is a bag of another kind: {said} Expected ROS 1 bags 2.0, or mcap and db3 of ROS 2",
            hint="record it with `rosbag record` of ROS 1 or `ros2 bag record`, or convert it with `rosbags-convert`",
        )
    return InputError(f"`{path}` is a truncated or corrupt bag: {type(error).__name__}: {said}", hint=_mending(path))


def _mending(path: Path) -> str:
    name, mended = _quoted(path), _quoted(path.with_name(f"mended{path.suffix}"))
    if path.is_dir():
        return f"`ros2 bag reindex {name}` makes its {METADATA} anew; a truncated mcap first needs `mcap recover`"
    if path.suffix == ".mcap":
        return f"`mcap recover {name} -o {mended}` keeps what there is of a recorder that was killed"
    if path.suffix == ".db3":
        return f"`sqlite3 {name} .recover | sqlite3 {mended}` keeps what there is of it"
    return f"`rosbag reindex {name}` keeps what there is of a recorder that was killed"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
