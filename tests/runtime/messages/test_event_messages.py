"""Messages of event cameras: lists of events, and packed ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from refusal import refused, taken_or_refused
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
    message.encoding = "libcaer"
    with refused("encoding `libcaer`"):
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


def words(rows: list[tuple[int, int, int, bool]], *, start: bool) -> bytes:
    """EVT 3.0 by its description: time from its upper and its lower 12 bits, a row, and single events in it."""
    found = []
    for at, x, y, p in rows:
        high = [0x8 << 12 | at >> 12 & 0xFFF] if start else []
        found += [*high, 0x6 << 12 | at & 0xFFF, y, 0x2 << 12 | int(p) << 11 | x]
        start = False
    return b"".join(word.to_bytes(2, "little") for word in found)


@pytest.mark.parametrize("every", [None, 0.5])
@pytest.mark.parametrize("big", [False, True])
def test_packets_continue_the_one_before(big: bool, every: float | None) -> None:
    rows = [[(4096 * 5 + 10, 3, 4, True), (4096 * 5 + 20, 200, 100, False)], [(4096 * 5 + 30, 7, 8, True)]]
    reader = FrameReader(event(8), "event_camera_msgs/msg/EventPacket", every=every)
    found = []
    for index, part in enumerate(rows):
        data = words(part, start=index == 0)
        data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2)) if big else data
        message = packed("big" if big else "little")
        message.encoding, message.events = "evt3", data
        message.header = header((index + 1) * 10**9)
        one = reader.add(message, 0)
        assert one is not None
        found += [tuple(row) for row in np.asarray(one.frame)[["x", "y", "p"]].tolist()]
        np.testing.assert_allclose(np.asarray(one.frame)["t"], [at * 1e-6 for at, *_ in part])
    assert found == [(x, y, p) for part in rows for _, x, y, p in part]


def test_a_broken_packet_of_words() -> None:
    message = packed()
    message.encoding, message.events = "evt3", b"\x00\x80\x01"
    with refused("no packet of `evt3`"):
        message_frame(message, event(8), "event_camera_msgs/msg/EventPacket")


@given(st.sampled_from(["mono", "evt3"]), st.lists(st.binary(max_size=64), min_size=1, max_size=4), st.booleans())
def test_any_packets(encoding: str, packets: list[bytes], big: bool) -> None:
    reader = FrameReader(event(8), "event_camera_msgs/msg/EventPacket")
    for index, data in enumerate(packets):
        message = packed("big" if big else "little")
        message.encoding, message.events, message.header = encoding, data, header(index + 1)
        with taken_or_refused():
            reader.add(message, 0)
