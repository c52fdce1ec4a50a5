"""Bags of ROS 1 and ROS 2, read as a stream: never more of them in memory than a chunk or a message."""

from __future__ import annotations

from advcal_edge.runtime.bags.bag import Bag, Topic, looks_like_bag, open_bag
from advcal_edge.runtime.bags.topic import Unreadable, describe_sound, find_topic, make_reader, read_topic

__all__ = [
    "Bag",
    "Topic",
    "Unreadable",
    "describe_sound",
    "find_topic",
    "looks_like_bag",
    "make_reader",
    "open_bag",
    "read_topic",
]
