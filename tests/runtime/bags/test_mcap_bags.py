"""Bags of another writer, mcap's own: compressed, without chunks, without an index, and with other messages beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusal import refused
from ros import NANOSECONDS, image, warm_scene

from advcal_edge.runtime.bags import find_topic, open_bag, read_topic
from advcal_edge.runtime.messages import FrameReader, StampedFrame
from advcal_edge.spec import thermal

mcap = pytest.importorskip("mcap.writer", reason="no mcap to write bags with")
bag_files = pytest.importorskip("bag_files", reason="no rosbags to read bags with")

KIND = "sensor_msgs/msg/Image"
START = 1_700_000_000 * NANOSECONDS
COUNTS = warm_scene(9, 12, 16)


def definition() -> str:
    text: str = bag_files.typestore(False).generate_msgdef(KIND, ros_version=2)[0]
    return text


def write(path: Path, profile: str = "ros2", encoding: str = "ros2msg", form: str = "cdr", **options: Any) -> Path:
    store = bag_files.typestore(False)
    with path.open("wb") as file:
        writer = mcap.Writer(file, **options)
        writer.start(profile=profile)
        schema = writer.register_schema(KIND, encoding, definition().encode())
        channel = writer.register_channel("/thermal", form, schema)
        for index, counts in enumerate(COUNTS):
            at = START + index * NANOSECONDS
            message = bag_files.typed(store, KIND, image(counts, "16UC1", stamp=at))
            writer.add_message(channel, at, bytes(store.serialize_cdr(message, KIND)), at)
        writer.finish()
    return path


def read(path: Path) -> list[Any]:
    with open_bag(path) as bag:
        topic = find_topic(bag, "/thermal", thermal(8))
        found = list(read_topic(bag, topic, FrameReader(thermal(8), topic.kind)))
    return [one.frame if isinstance(one, StampedFrame) else one for one in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": mcap.CompressionType.LZ4, "chunk_size": 1000},
        {"compression": mcap.CompressionType.NONE, "enable_data_crcs": True},
        {"use_chunking": False},
        {"index_types": mcap.IndexType.NONE},
        {
            "index_types": mcap.IndexType.NONE,
            "use_statistics": False,
            "repeat_channels": False,
            "repeat_schemas": False,
        },
    ],
)
def test_every_way_of_writing(options: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_array_equal(np.stack(read(write(tmp_path / "run.mcap", **options))), COUNTS)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"profile": "ros1"}, "another kind: Profile is not ros2"),
        ({"encoding": "protobuf"}, "also holds messages described as 'protobuf'"),
        ({"form": "json"}, "serialised as `json`"),
    ],
)
def test_other_messages_are_named(options: dict[str, str], match: str, tmp_path: Path) -> None:
    with refused(match):
        read(write(tmp_path / "run.mcap", **options))


def test_a_chunk_that_was_damaged_is_known_by_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "run.mcap", compression=mcap.CompressionType.NONE)
    data = path.read_bytes()
    at = data.index(COUNTS[4].tobytes())
    path.write_bytes(data[:at] + b"\0\0" + data[at + 2 :])
    with refused("checksum"):
        read(path)
