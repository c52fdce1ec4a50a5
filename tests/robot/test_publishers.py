"""Publishers that cannot reach the node are named, with the parameter that mends it."""

from __future__ import annotations

import pytest

from advcal_edge.robot import Level
from advcal_edge.robot.publishers import BEST_EFFORT, RELIABLE, Publisher, Wanted, check_publishers

IMAGE = "sensor_msgs/Image"


def camera(kind: str = "sensor_msgs/msg/Image", reliability: str = RELIABLE) -> Publisher:
    return Publisher("/camera", kind, reliability)


@pytest.mark.parametrize(
    ("reliable", "offered", "reaches"),
    [(False, BEST_EFFORT, True), (False, RELIABLE, True), (True, RELIABLE, True), (True, BEST_EFFORT, False)],
)
def test_reliable_takes_no_best_effort(reliable: bool, offered: str, reaches: bool) -> None:
    found = check_publishers(Wanted("/input", IMAGE, reliable), [camera(reliability=offered)])
    assert (found is None) == reaches
    if found is not None:
        assert found.level == Level.ERROR
        assert found.reason == (
            "QoS mismatch: `/camera` publishes `/input` best effort, this node asks for reliable; no message passes"
        )
        assert "reliable:=false" in found.mend


def test_nobody_publishes() -> None:
    found = check_publishers(Wanted("/input", IMAGE, False), [])
    assert found is not None
    assert (found.level, found.reason) == (Level.STALE, "nobody publishes `/input`")
    assert "-r input:=" in found.mend


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        ("sensor_msgs/msg/CompressedImage", "transport:=compressed"),
        ("sensor_msgs/msg/Imu", "input_type:=sensor_msgs/msg/Imu"),
    ],
)
def test_another_type(kind: str, mend: str) -> None:
    found = check_publishers(Wanted("/input", IMAGE, False), [camera(kind)])
    assert found is not None
    assert found.level == Level.ERROR
    assert "type mismatch" in found.reason
    assert mend in found.mend


def test_one_that_reaches_it_is_enough() -> None:
    others = [camera("sensor_msgs/msg/Imu"), camera(reliability=BEST_EFFORT), camera()]
    assert check_publishers(Wanted("/input", IMAGE, True), others) is None
