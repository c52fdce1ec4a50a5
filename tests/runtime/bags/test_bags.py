"""Bags of all three formats, written by rosbags' writers, against what was written into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_files import FORMATS, only_file, write_bag
from hypothesis import HealthCheck, given, settings, strategies as st
from refusal import refused, taken_or_refused
from ros import NANOSECONDS, cloud, image, motion, warm_scene

from advcal_edge.errors import InputError
from advcal_edge.runtime.bags import Unreadable, describe_sound, find_topic, open_bag, read_topic
from advcal_edge.runtime.messages import FrameReader, SoundFormat, StampedFrame
from advcal_edge.spec import Modality, imu, point, thermal

START = 1_700_000_000 * NANOSECONDS
STEP = 100_000_000
RNG = np.random.default_rng(0)
COUNTS = warm_scene(20, 12, 16)
THERMAL = (
    "sensor_msgs/msg/Image",
    [(START + STEP * i + 7, image(one, "16UC1", stamp=START + STEP * i, pad=4)) for i, one in enumerate(COUNTS)],
)
MOTION = (
    "sensor_msgs/msg/Imu",
    [(START + STEP // 10 * i, motion(START + STEP // 10 * i, [i / 100, 1, 9.8, 0, 0, 1])) for i in range(250)],
)
POINTS = np.zeros(40, np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")]))
for axis in "xyz":
    POINTS[axis] = RNG.normal(size=40)
CLOUDS = ("sensor_msgs/msg/PointCloud2", [(START + STEP * i, cloud(POINTS)) for i in range(3)])
TOPICS = {"/thermal": THERMAL, "/imu": MOTION, "/points": CLOUDS}


def read(path: Path, topic: str, modality: Modality, every: float | None = None) -> list[StampedFrame | Unreadable]:
    with open_bag(path) as bag:
        chosen = find_topic(bag, topic, modality)
        return list(read_topic(bag, chosen, FrameReader(modality, chosen.kind, every=every)))


def frames(found: list[StampedFrame | Unreadable]) -> list[StampedFrame]:
    assert not [one.error for one in found if isinstance(one, Unreadable)]
    return [one for one in found if isinstance(one, StampedFrame)]


@pytest.mark.parametrize(
    ("form", "packed"),
    [
        *((form, "") for form in FORMATS),
        ("bag", "bz2"),
        ("bag", "lz4"),
        ("db3", "file"),
        ("db3", "message"),
        ("mcap", "storage"),
    ],
)
def test_frames_of_every_format(form: str, packed: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path, form, TOPICS, packed=packed)
    found = frames(read(path, "/thermal", thermal(8)))
    assert [one.stamp for one in found] == [START + STEP * i for i in range(20)]
    for one, expected in zip(found, COUNTS, strict=True):
        np.testing.assert_array_equal(one.frame, expected)
    (first, second) = frames(read(path, "/imu", imu(100, 100.0)))
    assert (first.stamp, second.stamp) == (START, START + NANOSECONDS)
    clouds = frames(read(path, "/points", point(16)))
    assert [one.stamp for one in clouds] == [START + STEP * i for i in range(3)]  # without a stamp: when it came
    np.testing.assert_allclose(np.asarray(clouds[0].frame), np.stack([POINTS[axis] for axis in "xyz"], axis=1))


@pytest.mark.parametrize("form", ["db3", "mcap"])
def test_a_file_without_its_folder(form: str, tmp_path: Path) -> None:
    file = only_file(write_bag(tmp_path, form, TOPICS))
    alone = tmp_path / f"alone.{form}"
    alone.write_bytes(file.read_bytes())
    assert len(frames(read(alone, "thermal", thermal(8)))) == 20


def test_every_half_second(tmp_path: Path) -> None:
    path = write_bag(tmp_path, "mcap", TOPICS)
    found = frames(read(path, "/thermal", thermal(8), every=0.5))
    assert [one.stamp - START for one in found] == [0, 5 * STEP, 10 * STEP, 15 * STEP]
    found = frames(read(path, "/thermal", thermal(8), every=0.25))
    assert [one.stamp - START for one in found] == [STEP * i for i in (0, 3, 5, 8, 10, 13, 15, 18)]


@pytest.mark.parametrize("topic", ["/missing", "/imu"])
def test_topics_are_listed(topic: str, tmp_path: Path) -> None:
    path = write_bag(tmp_path, "mcap", TOPICS)
    with refused(r"/thermal \(sensor_msgs/Image, 20\), /imu \(sensor_msgs/Imu, 250\)") as refusal:
        read(path, topic, thermal(8))
    assert refusal.value.hint == "`--topic /thermal`"


def test_every_release_of_ros_means_the_same_by_the_types_that_are_read() -> None:
    from rosbags.typesys import Stores, get_typestore

    from advcal_edge.runtime.bags.definitions import FURTHER, _needed, typestore
    from advcal_edge.runtime.messages import SUITED

    kinds = {kind.replace("/", "/msg/") for kinds in SUITED.values() for kind in kinds} - set(FURTHER)
    known = typestore(False).fielddefs
    needed = set().union(*(_needed(kind, known) for kind in kinds))
    assert len(needed) > 15
    for release in (one for one in Stores if one.value.startswith("ros2")):
        fielddefs = get_typestore(release).fielddefs
        assert not [kind for kind in needed if fielddefs[kind][1] != known[kind][1]], release


def without_definitions(path: Path) -> None:
    """As ROS 2 wrote db3 up to Humble."""
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("UPDATE schema SET schema_version = 3")
        database.execute("DROP TABLE message_definitions")
    database.close()


def test_a_bag_without_definitions(tmp_path: Path) -> None:
    path = write_bag(tmp_path, "db3", TOPICS)
    without_definitions(only_file(path))
    assert len(frames(read(path, "/thermal", thermal(8)))) == 20


def test_a_type_that_took_the_name_of_another(tmp_path: Path) -> None:
    path = only_file(write_bag(tmp_path, "mcap", TOPICS))
    path.write_bytes(
        path.read_bytes().replace(b"uint32 height\nuint32 width\nstring", b"uint32 width\nuint32 height\nstring")
    )
    with refused("another `sensor_msgs/msg/Image` than that of ROS"):
        read(path, "/thermal", thermal(8))


def test_a_damaged_message_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    broken = [(at, message) for at, message in THERMAL[1]]
    bad = image(COUNTS[3], "16UC1", stamp=START + 3 * STEP)
    bad.height = 99
    broken[3] = (START + 3 * STEP, bad)
    path = write_bag(tmp_path, "mcap", {"/thermal": (THERMAL[0], broken)})
    found = read(path, "/thermal", thermal(8))
    (wrong,) = (one for one in found if isinstance(one, Unreadable))
    assert "expected 99 rows" in wrong.error.message
    assert wrong.stamp == START + 3 * STEP
    assert len(found) == 20


def test_a_killed_recorder(tmp_path: Path) -> None:
    for form, mend in (("bag", "rosbag reindex"), ("mcap", "mcap recover"), ("db3", "sqlite3")):
        whole = only_file(write_bag(tmp_path, form, TOPICS))
        cut = tmp_path / f"cut.{form}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with refused("truncated or corrupt") as refusal:
            read(cut, "/thermal", thermal(8))
        assert mend in str(refusal.value.hint)


def test_a_recorder_of_ros_1_that_never_wrote_its_index(tmp_path: Path) -> None:
    path = write_bag(tmp_path, "bag", TOPICS)
    data = path.read_bytes()
    at = data.index(b"index_pos=") + len(b"index_pos=")
    path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    with refused("not indexed"):
        read(path, "/thermal", thermal(8))


def test_a_database_whose_log_was_not_brought_in(tmp_path: Path) -> None:
    path = only_file(write_bag(tmp_path, "db3", TOPICS))
    Path(f"{path}-wal").write_bytes(b"something")
    for named in (path, path.parent):
        with refused("messages are still in") as refusal:
            read(named, "/thermal", thermal(8))
        assert "wal_checkpoint" in str(refusal.value.hint)


def test_what_is_no_bag(tmp_path: Path) -> None:
    for name, content, match in [
        ("a.mcap", b"", "empty"),
        ("b.bag", b"nothing of a bag", "no bag"),
        ("c.db3.zstd", b"\x28\xb5\x2f\xfd" + bytes(20), "no bag"),
        ("d.bag", b"#ROSBAG V1.2\n" + bytes(20), "version"),
        ("e.txt", b"\x89MCAP0\r\n" + bytes(20), "suffix"),
    ]:
        (tmp_path / name).write_bytes(content)
        with refused(match):
            read(tmp_path / name, "/thermal", thermal(8))
    for path, match in [(tmp_path / "none.mcap", "none.mcap"), (tmp_path / "empty", "folder without bags")]:
        (tmp_path / "empty").mkdir(exist_ok=True)
        with refused(match):
            read(path, "/thermal", thermal(8))


def test_a_folder_whose_recorder_was_killed(tmp_path: Path) -> None:
    path = write_bag(tmp_path, "mcap", TOPICS)
    (path / "metadata.yaml").unlink()
    with refused("no metadata.yaml") as refusal:
        read(path, "/thermal", thermal(8))
    assert "ros2 bag reindex" in str(refusal.value.hint)


def test_a_path_that_sqlite_would_take_for_another(tmp_path: Path) -> None:
    whole = only_file(write_bag(tmp_path, "db3", TOPICS))
    odd = tmp_path / "a?b.db3"
    odd.write_bytes(whole.read_bytes())
    with refused("rename|URI"):
        read(odd, "/thermal", thermal(8))


@pytest.mark.parametrize("form", FORMATS)
def test_sound_is_described_by_the_message_beside_it(form: str, tmp_path: Path) -> None:
    from types import SimpleNamespace

    from advcal_edge.spec import audio

    wave = (np.sin(np.arange(32000) * 0.1) * 9000).astype(np.int16)
    chunks = [(START + STEP * i, SimpleNamespace(data=part.tobytes())) for i, part in enumerate(wave.reshape(-1, 1600))]
    info = SimpleNamespace(channels=1, sample_rate=16000, sample_format="S16LE", bitrate=0, coding_format="wave")
    sound = ("audio_common_msgs/msg/AudioData", chunks)
    described = ("audio_common_msgs/msg/AudioInfo", [(START, info)])
    other = SimpleNamespace(**{**vars(info), "sample_rate": 8000})
    elsewhere = ("audio_common_msgs/msg/AudioInfo", [(START, other)])
    path = write_bag(tmp_path, form, {"/mic/audio": sound, "/mic/info": described, "/speaker/info": elsewhere})
    modality = audio(64, 96)
    with open_bag(path) as bag:
        topic = find_topic(bag, "/mic/audio", modality)
        form_of_sound = describe_sound(bag, topic)
        assert form_of_sound == SoundFormat(16000.0)
        found = frames(list(read_topic(bag, topic, FrameReader(modality, topic.kind, seconds=1, sound=form_of_sound))))
    np.testing.assert_array_equal(found[0].frame.values, wave[:16000])  # type: ignore[union-attr]


SMALL = {"/thermal": (THERMAL[0], THERMAL[1][:4])}


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("wholes")
    return {form: only_file(write_bag(folder, form, SMALL)).read_bytes() for form in FORMATS}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_and_flipped_bags_are_read_or_refused(
    data: st.DataObject, wholes: dict[str, bytes], tmp_path: Path
) -> None:
    form = data.draw(st.sampled_from(FORMATS))
    spoilt = bytearray(wholes[form])
    for at in data.draw(st.lists(st.integers(0, 8 * len(spoilt) - 1), max_size=8)):
        spoilt[at // 8] ^= 1 << at % 8
    end = data.draw(st.just(len(spoilt)) | st.integers(0, len(spoilt)))
    path = tmp_path / f"spoilt.{form}"
    path.write_bytes(spoilt[:end])
    with taken_or_refused():
        for one in read(path, "/thermal", thermal(8)):
            assert isinstance(one, StampedFrame) or isinstance(one.error, InputError)


@pytest.mark.parametrize("form", FORMATS)
def test_a_bag_is_a_stream(form: str, tmp_path: Path) -> None:
    """The memory that frames take is that of a few of them, however many there are."""
    import tracemalloc

    large = np.tile(COUNTS[0], (40, 40))
    many = [(at, image(large, "16UC1", stamp=at)) for at in (START + STEP * i for i in range(40))]
    path = write_bag(tmp_path, form, {"/thermal": ("sensor_msgs/msg/Image", many)})
    tracemalloc.start()
    with open_bag(path) as bag:
        topic = find_topic(bag, "/thermal", thermal(8))
        found = read_topic(bag, topic, FrameReader(thermal(8), topic.kind))
        count = sum(isinstance(one, StampedFrame) for one in found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40
    assert peak < 16 * large.nbytes, f"{peak / large.nbytes:.1f} frames"
