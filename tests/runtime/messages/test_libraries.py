"""Objects as the libraries make them: those of rosbags and mcap are real, those of rclpy and rospy have their marks."""

from __future__ import annotations

import array
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from refusal import refused
from ros import NANOSECONDS, header, image, motion, warm_scene

from advcal_edge.runtime.messages import FrameReader, kind_of, message_frame, stamp_of
from advcal_edge.spec import imu, thermal

COUNTS = warm_scene(12, 16)
START = 1_700_000_000 * NANOSECONDS + 123_456_789


def test_mcap_objects(tmp_path: Path) -> None:
    mcap = pytest.importorskip("mcap_ros2.reader", reason="no mcap-ros2-support to read messages with")
    bag_files = pytest.importorskip("bag_files", reason="no rosbags to write bags with")
    motions = [(START + i, motion(START + i * 10_000_000, [1, 2, 9.8, 0, 0, i / 100])) for i in range(101)]
    topics = {
        "/thermal": ("sensor_msgs/msg/Image", [(START, image(COUNTS, "16UC1", stamp=START, pad=2))]),
        "/imu": ("sensor_msgs/msg/Imu", motions),
    }
    file = bag_files.only_file(bag_files.write_bag(tmp_path, "mcap", topics))
    (message,) = (one.ros_msg for one in mcap.read_ros2_messages(file, topics=["/thermal"]))
    assert isinstance(message.data, bytes)
    assert kind_of(message) == "sensor_msgs/Image"
    assert stamp_of(message) == START
    np.testing.assert_array_equal(message_frame(message, thermal(8)), COUNTS)
    reader = FrameReader(imu(100, 100.0), "sensor_msgs/msg/Imu")
    found = [reader.add(one.ros_msg, 0) for one in mcap.read_ros2_messages(file, topics=["/imu"])]
    (window,) = (one for one in found if one is not None)
    np.testing.assert_allclose(window.frame.values[5], np.arange(100) / 100)  # type: ignore[union-attr]


def test_rosbags_objects() -> None:
    bag_files = pytest.importorskip("bag_files", reason="no rosbags to make messages with")
    store = bag_files.typestore(False)
    raw = store.serialize_cdr(
        bag_files.typed(store, "sensor_msgs/msg/Image", image(COUNTS, "mono16", stamp=START)), "sensor_msgs/msg/Image"
    )
    message = store.deserialize_cdr(raw, "sensor_msgs/msg/Image")
    assert isinstance(message.data, np.ndarray)
    assert kind_of(message) == "sensor_msgs/Image"
    assert stamp_of(message) == START
    np.testing.assert_array_equal(message_frame(message, thermal(8)), COUNTS)


def marked(module: str, name: str, **fields: Any) -> Any:
    """An object whose class lies where a generator of ROS puts it."""
    sys.modules.setdefault(module, ModuleType(module))
    return type(name, (SimpleNamespace,), {"__module__": module})(**fields)


def test_rclpy_objects() -> None:
    fields = vars(image(COUNTS, "16UC1", stamp=START, library=lambda data: array.array("B", data)))
    message = marked("sensor_msgs.msg._image", "Image", **fields)
    assert kind_of(message) == "sensor_msgs/Image"
    np.testing.assert_array_equal(message_frame(message, thermal(8)), COUNTS)


def test_rospy_objects() -> None:
    """Bytes as they came, stamps with other names, and the type in `_type`."""
    stamp = SimpleNamespace(secs=START // NANOSECONDS, nsecs=START % NANOSECONDS)
    fields = {**vars(image(COUNTS, "16UC1")), "header": SimpleNamespace(stamp=stamp, seq=0, frame_id="")}
    message = SimpleNamespace(_type="sensor_msgs/Image", **fields)
    assert kind_of(message) == "sensor_msgs/Image"
    assert stamp_of(message) == START
    np.testing.assert_array_equal(message_frame(message, thermal(8)), COUNTS)


def test_an_object_that_does_not_tell_its_type() -> None:
    with refused("does not say which message"):
        message_frame(image(COUNTS, "16UC1"), thermal(8))


@pytest.mark.parametrize("head", [None, SimpleNamespace(), header(0), SimpleNamespace(stamp=SimpleNamespace(sec="a"))])
def test_a_stamp_that_was_never_set(head: object) -> None:
    assert stamp_of(SimpleNamespace(header=head)) is None
    assert stamp_of(SimpleNamespace()) is None
