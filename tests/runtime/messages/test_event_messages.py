"""Messages of event cameras: lists of events, and packed ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from refusal import refused
from ros import LIBRARIES, header

from advcal_edge.runtime.messages import FrameReader, message_frame
from advcal_edge.spec import event

ROWS = [(1_000_000_500, 3, 4, True), (1_000_001_000, 200, 100, False), (1_000_002_000, 3, 5, True)]


def listed() -> SimpleNamespace:
    events = [
        SimpleNamespace(x=x, y=y, polarity=p, ts=SimpleNamespace(sec=t // 10**9, nanosec=t % 10**9))
        for t, x, y, p in ROWS
    ]
    return SimpleNamespace(header=header(5), height=260, width=346, events=events)


def packed(order: str = "little", library: str = "mcap") -> SimpleNamespace:
    words = [int(p) << 63 | y << 48 | x << 32 | (t - 10**9) for t, x, y, p in ROWS]
    data = b"".join(word.to_bytes(8, order) for word in words)  # type: ignore[arg-type]
    return SimpleNamespace(
        header=header(5),
        height=260,
        width=346,
        seq=0,
        time_base=10**9,
        encoding="mono",
        is_bigendian=order == "big",
        events=LIBRARIES[library](data),
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (listed(), "dvs_msgs/msg/EventArray"),
        (listed(), "prophesee_event_msgs/EventArray"),
        (packed(), "event_camera_msgs/msg/EventPacket"),
        (packed("big"), "event_camera_msgs/msg/EventPacket"),
        *((packed(library=name), "event_camera_msgs/EventPacket") for name in LIBRARIES),
    ],
)
def test_events(message: SimpleNamespace, kind: str) -> None:
    frame = message_frame(message, event(8), kind)
    assert isinstance(frame, np.ndarray)
    assert frame["x"].tolist() == [x for _, x, _, _ in ROWS]
    assert frame["y"].tolist() == [y for _, _, y, _ in ROWS]
    assert frame["p"].tolist() == [p for *_, p in ROWS]
    np.testing.assert_allclose(frame["t"], [t / 1e9 for t, *_ in ROWS], atol=1e-9)


def test_windows_of_events() -> None:
    reader = FrameReader(event(8), "dvs_msgs/msg/EventArray", seconds=1)
    messages = []
    for index in range(5):
        message = listed()
        message.header = header(10**9 + index * 250_000_000)
        for one in message.events:
            one.ts.nanosec += index * 10_000
        messages.append(message)
    found = [one for one in (reader.add(message, 0) for message in messages) if one is not None]
    assert [len(one.frame) for one in found if isinstance(one.frame, np.ndarray)] == [4 * len(ROWS)]


def test_other_encodings_are_named() -> None:
    message = packed()
    message.encoding = "evt3"
    with refused("encoding `evt3`"):
        message_frame(message, event(8), "event_camera_msgs/msg/EventPacket")


@pytest.mark.parametrize("change", [{"events": b"1234567"}, {"events": b""}, {"time_base": -1}, {"encoding": 3}])
def test_packets_that_cannot_be(change: dict[str, object]) -> None:
    message = packed()
    vars(message).update(change)
    with refused("event|message"):
        message_frame(message, event(8), "event_camera_msgs/msg/EventPacket")


@pytest.mark.parametrize("value", [-1, 70000, None, "x"])
def test_lists_that_cannot_be(value: object) -> None:
    message = listed()
    message.events[1].x = value
    with refused("event 1"):
        message_frame(message, event(8), "dvs_msgs/EventArray")
