"""ROS messages to frames, for the objects of any library: rclpy, rosbags, mcap. Nothing of ROS is imported."""

from __future__ import annotations

from advcal_edge.runtime.messages.fields import Message, seconds_text, stamp_of
from advcal_edge.runtime.messages.frames import FrameReader, StampedFrame, message_frame
from advcal_edge.runtime.messages.kinds import SOUND_INFO, SUITED, check_kind, kind_of, plain_kind
from advcal_edge.runtime.messages.sound import SoundFormat

__all__ = [
    "SOUND_INFO",
    "SUITED",
    "FrameReader",
    "Message",
    "SoundFormat",
    "StampedFrame",
    "check_kind",
    "kind_of",
    "message_frame",
    "plain_kind",
    "seconds_text",
    "stamp_of",
]
