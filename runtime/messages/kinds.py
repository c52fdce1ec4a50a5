"""Which types of messages hold the frames of which sensor."""

from __future__ import annotations

from collections.abc import Mapping

from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import Message
from advcal_edge.spec import Modality

IMAGE, COMPRESSED = "sensor_msgs/Image", "sensor_msgs/CompressedImage"
CLOUD, IMU = "sensor_msgs/PointCloud2", "sensor_msgs/Imu"
SOUNDS = (
    "audio_common_msgs/AudioData",
    "audio_common_msgs/AudioDataStamped",
    *(f"std_msgs/{number}MultiArray" for number in ("Int8", "UInt8", "Int16", "Int32", "Float32", "Float64")),
)
SOUND_INFO = "audio_common_msgs/AudioInfo"
EVENTS = ("dvs_msgs/EventArray", "prophesee_event_msgs/EventArray", "event_camera_msgs/EventPacket")
PICTURES = (IMAGE, COMPRESSED)

SUITED: Mapping[str, tuple[str, ...]] = {
    "image": PICTURES,
    "video": PICTURES,
    "thermal": PICTURES,
    "depth": PICTURES,
    "range": PICTURES,
    "point": (CLOUD,),
    "imu": (IMU,),
    "audio": SOUNDS,
    "event": EVENTS,
}
"""By `Modality.preprocess`."""


def plain_kind(kind: str) -> str:
    """A type of message in one spelling: ROS 2 says `sensor_msgs/msg/Image`, ROS 1 `sensor_msgs/Image`."""
    return kind.replace("/msg/", "/")


def kind_of(message: Message) -> str:
    """The type of a message by its object, as rclpy, rospy, rosbags and mcap mark it.

    Raises:
        InputError: nothing tells it.
    """
    for mark in ("__msgtype__", "_type"):
        if isinstance(marked := getattr(message, mark, None), str):
            return plain_kind(marked)
    package, dot, _ = type(message).__module__.partition(".msg")
    if dot and package:
        return f"{package}/{type(message).__name__}"
    raise InputError(
        f"a {type(message).__name__} does not say which message it is; expected one of a ROS library",
        hint="name its type, as in `kind='sensor_msgs/msg/Image'`",
    )


def check_kind(kind: str, modality: Modality) -> str:
    """The type in one spelling, if it holds frames of this sensor.

    Raises:
        InputError: it does not.
    """
    suited = SUITED.get(modality.preprocess, ())
    if plain_kind(kind) not in suited:
        raise InputError(
            f"messages of type `{kind}` hold no {modality.name} frames; expected {' or '.join(suited) or 'none'}",
            hint=f"name a topic of the {modality.name} sensor",
        )
    return plain_kind(kind)
