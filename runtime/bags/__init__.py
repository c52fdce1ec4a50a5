"""Bags of ROS 1 and ROS 2, read as a stream: never more of them in memory than a chunk or a message."""

from __future__ import annotations

from advcal_edge.runtime.bags.bag import Bag, Topic, open_bag
from advcal_edge.runtime.bags.topic import Unreadable, describe_sound, find_topic, read_topic

__all__ = ["Bag", "Topic", "Unreadable", "describe_sound", "find_topic", "open_bag", "read_topic"]
