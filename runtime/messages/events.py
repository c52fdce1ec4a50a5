"""Events of pixels: dvs_msgs/EventArray, the same of prophesee_event_msgs, and event_camera_msgs/EventPacket.

Of packets these encodings are read: `mono`, 64 bits an event, of which the upper half has polarity, y and x, the lower
the nanoseconds since the packet's `time_base`; and `evt3`, the words of Prophesee, which a packet continues where the
one before it ended. Of the first packet the events before its first time are left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import (
    NANOSECONDS,
    WHOLE,
    Message,
    read_bytes,
    read_field,
    read_text,
    read_whole,
)
from advcal_edge.runtime.sensors.event import EVENT_DTYPE
from advcal_edge.runtime.sensors.files.prophesee_words import Decoder, decode_packet
from advcal_edge.runtime.sensors.frame import Array

PACKET = "EventPacket"
MONO, EVT3 = "mono", "evt3"
MICROSECOND = 1e-6


def read_events(message: Message, kind: str, state: Decoder) -> Array:
    """The events (n,) as `EVENT_DTYPE`, times in seconds; `state` is what the packets before this one have set.

    Raises:
        InputError: another encoding, or numbers that are none.
    """
    return _read_packet(message, state) if kind.endswith(PACKET) else _read_list(message)


def _read_list(message: Message) -> Array:
    listed = read_field(message, "events")
    limits.EVENTS.check(len(listed), "the message", InputError)
    events = np.empty(len(listed), EVENT_DTYPE)
    for index, event in enumerate(listed):
        stamp = read_field(event, "ts")
        seconds = read_field(stamp, "sec" if hasattr(stamp, "sec") else "secs")
        fraction = read_field(stamp, "nanosec" if hasattr(stamp, "nanosec") else "nsecs")
        try:
            events[index] = seconds + fraction / NANOSECONDS, event.x, event.y, event.polarity
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"event {index} of the message cannot be read: {error}", hint=WHOLE) from error
    return events


def _read_packet(message: Message, state: Decoder) -> Array:
    encoding, raw = read_text(message, "encoding"), read_bytes(message, "events")
    if encoding == EVT3:
        return _read_evt3(message, raw, state)
    if encoding != MONO:
        raise InputError(
            f"the message has events in the encoding `{encoding}`; expected `{MONO}` or `{EVT3}`",
            hint="event_camera_tools republishes packets as dvs_msgs/EventArray",
        )
    limits.EVENTS.check(raw.size // 8, "the message", InputError)
    if raw.size % 8:
        raise InputError(f"the message has {raw.size} bytes of events; expected 8 for each", hint=WHOLE)
    packed = raw.view(">u8" if read_whole(message, "is_bigendian") else "<u8").astype(np.uint64)
    events = np.empty(len(packed), EVENT_DTYPE)
    events["t"] = (read_whole(message, "time_base") + (packed & np.uint64(2**32 - 1)).astype(np.float64)) / NANOSECONDS
    events["x"] = (packed >> np.uint64(32)) & np.uint64(0xFFFF)
    events["y"] = (packed >> np.uint64(48)) & np.uint64(0x7FFF)
    events["p"] = (packed >> np.uint64(63)) != 0
    return events


def _read_evt3(message: Message, raw: NDArray[np.uint8], state: Decoder) -> Array:
    limits.EVENTS.check(raw.size // 2, "the message", InputError)
    if read_whole(message, "is_bigendian") and raw.size % 2 == 0:
        raw = np.ascontiguousarray(raw.reshape(-1, 2)[:, ::-1]).reshape(-1)
    try:
        words = decode_packet(raw, "EVT3", state)
    except ValueError as error:
        raise InputError(f"the message is no packet of `{EVT3}`: {error}", hint=WHOLE) from error
    events = np.empty(len(words), EVENT_DTYPE)
    for name in ("x", "y", "p"):
        events[name] = words[name]
    events["t"] = words["t"] * MICROSECOND
    return events
