"""The types of messages that are decoded, and the check that a bag means the same by them.

rosbags has those of ROS itself, which no release of ROS 2 from Dashing to Lyrical has changed for the sensors here;
the others are below. So bags without definitions, as ROS 2 wrote them up to Humble, need none.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from advcal_edge import limits
from advcal_edge.errors import InputError, first_line

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

FURTHER = {
    "audio_common_msgs/msg/AudioData": "uint8[] data",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio",
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format"
    ),
    "dvs_msgs/msg/Event": "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity",
    "dvs_msgs/msg/EventArray": "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events",
    "prophesee_event_msgs/msg/Event": "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity",
    "prophesee_event_msgs/msg/EventArray": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nprophesee_event_msgs/Event[] events"
    ),
    "event_camera_msgs/msg/EventPacket": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
        "bool is_bigendian\nuint8[] events"
    ),
}
"""Definitions of types that are no part of ROS."""

LARGEST_ARRAY = 2**30
"""Elements: rosbags reserves what a message claims to hold."""


@cache
def typestore(is_ros1: bool) -> Typestore:
    """Every type that is decoded, as ROS 1 Noetic or ROS 2 Jazzy writes it."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)
    store.max_sequence_length = LARGEST_ARRAY
    for kind, text in FURTHER.items():
        if kind not in store.fielddefs:
            store.register(get_types_from_msg(text, kind))
    return store


def check_definition(connection: Connection, is_ros1: bool) -> None:
    """Check that a bag means by a type what is decoded; a bag may also say nothing.

    Raises:
        InputError: it means something else, what it says cannot be read, or the type is not known.
    """
    kind, said = connection.msgtype, connection.msgdef
    known = typestore(is_ros1).fielddefs
    if kind not in known:
        raise InputError(f"messages of type `{kind}` are not decoded", hint="name a topic of another type")
    form = getattr(connection.ext, "serialization_format", "cdr")
    if form != "cdr":
        raise InputError(
            f"messages of `{connection.topic}` are serialised as `{form}`; expected cdr, that of ROS 2",
            hint="record the topic with `ros2 bag record`",
        )
    if said.format.name == "NONE":
        return
    where = f"what the bag says of `{kind}`"
    limits.DOCUMENT_BYTES.check(len(said.data), where, InputError)
    try:
        found = _parse(said.data, kind, is_idl=said.format.name == "IDL")
    except Exception as error:  # the parser of rosbags meets text of any kind
        raise InputError(f"{where} cannot be read: {first_line(error)[:200]}", hint=AGAIN) from error
    odd = [name for name in found if name in _needed(kind, known) and _fields(found[name]) != _fields(known[name])]
    if odd or kind not in found:
        raise InputError(f"{where} is another `{odd[0] if odd else kind}` than that of ROS", hint=AGAIN)


AGAIN = "a package of one's own has taken the name of one of ROS; republish the topic as the type of ROS"


def _parse(text: str, kind: str, *, is_idl: bool) -> dict[str, Any]:
    from rosbags.typesys import get_types_from_idl, get_types_from_msg

    if not is_idl:
        return dict(get_types_from_msg(text, kind))
    line, found = "=" * 80 + "\n", {}
    for part in text.split(line):
        if part.strip():
            found.update(get_types_from_idl(part.partition("\n")[2] if part.startswith("IDL: ") else part))
    return found


def _needed(kind: str, known: Any) -> set[str]:
    """A type and those of its fields, at any depth."""
    waiting, needed = [kind], set()
    while waiting:
        name = waiting.pop()
        if name in needed or name not in known:
            continue
        needed.add(name)
        for _, described in known[name][1]:
            inner = described[1][0] if isinstance(described[1][0], tuple) else described
            if isinstance(inner[1], str):
                waiting.append(inner[1])
    return needed


def _fields(definition: Any) -> list[tuple[str, Any]]:
    """Names and types of the fields; the bounds of strings and sequences do not change their bytes."""
    return [(name, described) for name, described in definition[1]]
