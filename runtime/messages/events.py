"""Events of pixels: dvs_msgs/EventArray, the same of prophesee_event_msgs, and event_camera_msgs/EventPacket.

Of packets the encoding `mono` is read: 64 bits an event, of which the upper half has polarity, y and x, the lower the
nanoseconds since the packet's `time_base`.
"""

from __future__ import annotations

import numpy as np

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
from advcal_edge.runtime.sensors.frame import Array

PACKET = "EventPacket"
MONO = "mono"


def read_events(message: Message, kind: str) -> Array:
    """The events (n,) as `EVENT_DTYPE`, times in seconds.

    Raises:
        InputError: another encoding, or numbers that are none.
    """
    return _read_packet(message) if kind.endswith(PACKET) else _read_list(message)


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


def _read_packet(message: Message) -> Array:
    encoding, raw = read_text(message, "encoding"), read_bytes(message, "events")
    if encoding != MONO:
        raise InputError(
            f"the message has events in the encoding `{encoding}`; expected `{MONO}`",
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
