"""What becomes of each message: embedded under its own header, dropped because stale, or rejected and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ros import NANOSECONDS, image, motion, warm_scene
from verified import intake, motion_sensor

from advcal_edge.errors import ConfigError, EngineError, InputError
from advcal_edge.robot import Intake, NodeSettings
from advcal_edge.robot.counts import Counts
from advcal_edge.robot.input_kind import NEWEST, SAMPLES_OF_WINDOW, input_kind, make_reader, queue_depth
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.abstention import Abstention
from advcal_edge.spec import audio, event, image as picture, imu, point, thermal, video

NOW = 1_700_000_000 * NANOSECONDS
LATE = 300_000_000


def scene(at: int) -> Any:
    return image(warm_scene(24, 32), "16UC1", stamp=at)


def counted(given: Intake) -> dict[str, int]:
    """The counts that are not 0."""
    found = given.snapshot()
    return {name: getattr(found, name) for name in Counts.__slots__ if getattr(found, name)}


def test_an_answer_has_the_header_of_its_message(tmp_path: Path) -> None:
    given = intake(tmp_path, thermal(8))
    answer = given.take(scene(NOW), NOW + 5_000_000)
    assert answer is not None
    assert (answer.stamp, answer.frame_id) == (NOW, "camera")
    np.testing.assert_array_equal(answer.z, given.embedder.embed_frames([warm_scene(24, 32)])[0])
    assert answer.matches == given.embedder.match(answer.z[None], 3)[0]
    assert counted(given) == {"received": 1, "embedded": 1}
    assert given.age == pytest.approx(0.005)
    assert given.durations.percentiles().keys() == {50, 95, 99}


def test_a_stale_message_is_dropped_and_counted(tmp_path: Path) -> None:
    given = intake(tmp_path, thermal(8))
    assert given.take(scene(NOW - LATE), NOW) is None
    assert given.take(scene(NOW), NOW) is not None
    assert counted(given) == {"received": 2, "embedded": 1, "stale": 1}
    patient = intake(tmp_path / "again", thermal(8), max_age=0)
    assert patient.take(scene(NOW - 3600 * NANOSECONDS), NOW) is not None


def test_a_message_without_a_stamp_keeps_none(tmp_path: Path) -> None:
    given = intake(tmp_path, thermal(8))
    answer = given.take(scene(0), NOW)
    assert answer is not None
    assert answer.stamp == 0
    assert counted(given) == {"received": 1, "embedded": 1, "unstamped": 1}


def test_a_broken_message_is_rejected_and_the_next_one_is_taken(tmp_path: Path) -> None:
    given = intake(tmp_path, thermal(8))
    broken = scene(NOW)
    broken.data = broken.data[:100]
    assert given.take(broken, NOW) is None
    assert isinstance(given.fault, InputError)
    assert "bytes" in given.fault.message
    assert given.take(scene(NOW), NOW) is not None
    assert counted(given) == {"received": 2, "embedded": 1, "rejected": 1}


class Failing:
    """An embedder whose engine does not run; everything else is that of a real one."""

    def __init__(self, embedder: Embedder, error: Exception) -> None:
        self.embedder, self.error = embedder, error

    def embed_frames(self, frames: object) -> NDArray[np.float32]:
        raise self.error


@pytest.mark.parametrize("error", [EngineError("the device is gone", hint="restart"), RuntimeError("CUDA error 700\n")])
def test_an_engine_that_fails_is_told_and_does_not_end_the_node(tmp_path: Path, error: Exception) -> None:
    given = intake(tmp_path, thermal(8))
    given.embedder = Failing(given.embedder, error)  # type: ignore[assignment]
    assert given.take(scene(NOW), NOW) is None
    assert isinstance(given.fault, EngineError)
    assert str(error).strip() in given.fault.message
    assert counted(given) == {"received": 1, "failed": 1}


def test_labels_below_the_least_score_are_left_out_and_counted(tmp_path: Path) -> None:
    given = intake(tmp_path, thermal(8), min_score=1.0, top_k=2)
    answer = given.take(scene(NOW), NOW)
    assert answer is not None
    assert [(match.label, match.sure) for match in answer.matches] == [("unsure", False)]
    assert answer.sure is False
    assert counted(given) == {"received": 1, "embedded": 1, "unsure": 1}


@pytest.mark.parametrize(("threshold", "label", "sure"), [(2.0, "unsure", False), (0.0, None, True)])
def test_the_rule_of_the_report_says_which_answers_are_unsure(
    tmp_path: Path, threshold: float, label: str | None, sure: bool
) -> None:
    given = intake(tmp_path, thermal(8))
    given.embedder = replace(given.embedder, abstention=Abstention(threshold, 0.05, 0.04, 0.5, 0.4))
    answer = given.take(scene(NOW), NOW)
    assert answer is not None
    assert answer.sure is sure
    assert [match.label for match in answer.matches][:1] == [
        label or given.embedder.match(answer.z[None], 1)[0][0].label
    ]
    assert counted(given) == {"received": 1, "embedded": 1} | ({} if sure else {"unsure": 1})


def shaken(at: int) -> Any:
    t = at / NANOSECONDS % 10
    return motion(at, [np.sin(7 * t), 0.5, 9.8, 0.1 * np.cos(5 * t), 0.01, 0.02])


def test_a_window_is_answered_under_the_stamp_of_its_first_message(tmp_path: Path) -> None:
    given = intake(tmp_path, motion_sensor(), stride=0.5, require_verified=False)
    answers = [given.take(shaken(NOW + step * 50_000_000), NOW + step * 50_000_000) for step in range(41)]
    found = [one for one in answers if one is not None]
    assert [one.stamp - NOW for one in found] == [0, 500_000_000, 1_000_000_000]
    assert {one.frame_id for one in found} == {"camera"}
    assert counted(given) == {"received": 41, "embedded": 3}


def test_a_window_whose_end_is_late_is_dropped_whole(tmp_path: Path) -> None:
    given = intake(tmp_path, motion_sensor(), stride=0, require_verified=False)
    answers = [given.take(shaken(NOW + step * 50_000_000), NOW + step * 50_000_000 + LATE) for step in range(41)]
    assert not any(answers)
    assert counted(given) == {"received": 41, "stale": 2}


@pytest.mark.parametrize(
    ("modality", "settings", "kind", "depth"),
    [
        (picture(8), {}, "sensor_msgs/Image", NEWEST),
        (picture(8), {"transport": "compressed"}, "sensor_msgs/CompressedImage", NEWEST),
        (point(32), {"transport": "compressed"}, "sensor_msgs/PointCloud2", NEWEST),
        (imu(100, 100.0), {}, "sensor_msgs/Imu", SAMPLES_OF_WINDOW),
        (video(8, 2), {}, "sensor_msgs/Image", 30),
        (event(8), {}, "event_camera_msgs/EventPacket", NEWEST),
        (audio(16, 8), {"sample_rate": 16000}, "audio_common_msgs/AudioDataStamped", SAMPLES_OF_WINDOW),
        (
            audio(16, 8),
            {"sample_rate": 16000, "input_type": "std_msgs/msg/Int16MultiArray"},
            "std_msgs/Int16MultiArray",
            SAMPLES_OF_WINDOW,
        ),
    ],
)
def test_each_sensor_has_its_messages(modality: Any, settings: dict[str, Any], kind: str, depth: int) -> None:
    read = NodeSettings.of({"bundle": "B", **settings})
    assert input_kind(modality, read) == kind
    assert queue_depth(make_reader(modality, kind, read)) == depth


def test_a_type_of_another_sensor_and_sound_of_no_rate_are_refused() -> None:
    with pytest.raises(InputError, match="hold no image frames"):
        input_kind(picture(8), NodeSettings("B", input_type="sensor_msgs/msg/Imu"))
    with pytest.raises(ConfigError, match="rate of the sound") as refusal:
        make_reader(audio(16, 8), "std_msgs/Int16MultiArray", NodeSettings("B"))
    assert "sample_rate:=" in str(refusal.value.hint)
