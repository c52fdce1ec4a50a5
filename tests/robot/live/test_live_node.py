"""The node for real: its own process, ROS 2's own middleware, nothing of it replaced."""

from __future__ import annotations

import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS here: docs/ros.md says how to install it")

from bag_files import write_bag
from checkout import ROOT
from diagnostic_msgs.msg import DiagnosticStatus
from live_robot import Robot, embedding, picture, stamp_header, stamp_of, told
from rclpy.qos import qos_profile_sensor_data
from ros import NANOSECONDS, image as image_message, warm_scene
from rosbags.highlevel import AnyReader
from ruled import plain_bundle, put, report_on
from sensor_msgs.msg import CompressedImage, Image, Imu
from std_msgs.msg import Int16MultiArray, String
from tiny import Linear, report_for, write_bundle
from verified import OTHER, add_plan, bundle_to_replay, motion_sensor, verified_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.robot.node import LATCHED
from advcal_edge.runtime import Embedder
from advcal_edge.spec import audio, thermal

OK, WARN, ERROR, STALE = (
    level[0] for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
)
HOST_NODE = (sys.executable, str(Path(__file__).parent / "host_node.py"))
SCENE = warm_scene(24, 32)
as_text = pytest.mark.skipif(find_spec("vision_msgs") is not None, reason="labels are messages: test_live_vision.py")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return verified_bundle(tmp_path / "B", thermal(8))


@as_text
def test_one_frame_there_and_back(robot: Robot, bundle: Bundle) -> None:
    answers, labels = robot.listen(Image, "embedding"), robot.listen(String, "labels")
    camera = robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle.path, "top_k:=2")
    robot.match(camera)
    robot.until(lambda: len(robot.tools.get_publishers_info_by_topic(f"{robot.namespace}/advcal_edge/labels")) == 1)
    robot.spin(0.2)
    stamp = time.time_ns()
    camera.publish(picture(SCENE, "16UC1", stamp))
    robot.until(lambda: answers and labels)

    embedder = Embedder.load(bundle.path)
    z = embedder.embed_frames([SCENE])
    np.testing.assert_array_equal(embedding(answers[0]), z[0])
    assert (stamp_of(answers[0]), answers[0].header.frame_id) == (stamp, "camera")
    said = told(labels[0])
    assert said["stamp"] == f"{stamp // NANOSECONDS}.{stamp % NANOSECONDS:09d}"
    assert [one["label"] for one in said["labels"]] == [match.label for match in embedder.match(z, 2)[0]]

    engine = robot.listen(String, "engine", LATCHED)  # only now: it is kept for whoever comes later
    robot.until(lambda: engine)
    assert told(engine[0])["fingerprint"] == embedder.fingerprint
    assert told(engine[0])["verified"] is True
    found = robot.until(robot.says("answers per second"))
    assert found.level == OK
    assert (found.values["embedded"], found.values["stale"]) == ("1", "0")
    assert robot.stop(signal.SIGINT) == 0


def test_the_life_of_a_node(robot: Robot, bundle: Bundle) -> None:
    answers, camera = robot.listen(Image, "embedding"), robot.publisher(Image, 1)
    robot.start(bundle.path, "autostart:=false", "max_age:=0")

    def answered() -> bool:
        before = len(answers)
        camera.publish(picture(SCENE, "16UC1", time.time_ns()))
        robot.spin(0.3)
        return len(answers) > before

    assert robot.state() == "unconfigured"
    assert robot.until(robot.says("not configured")).level == WARN
    assert not robot.transition("activate")
    assert robot.transition("configure")
    assert robot.state() == "inactive"
    robot.until(robot.says("configured, not active"))
    assert not answered()
    assert robot.transition("activate")
    robot.until(answered)
    assert robot.transition("deactivate")
    assert not answered()
    assert robot.transition("cleanup")
    assert robot.transition("configure")
    assert robot.transition("activate")
    robot.until(answered)
    assert robot.transition("shutdown")
    assert robot.state() == "finalized"
    assert robot.stop(signal.SIGTERM) in (0, 143)


def test_stale_frames_are_dropped_and_counted(robot: Robot, bundle: Bundle) -> None:
    answers, camera = robot.listen(Image, "embedding"), robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle.path, "max_age:=0.5")
    robot.match(camera)
    for _ in range(4):
        camera.publish(picture(SCENE, "16UC1", time.time_ns() - 2 * NANOSECONDS))
        robot.spin(0.1)
    robot.until(lambda: (found := robot.diagnosis()) and found.values.get("stale") == "4")
    found = robot.until(robot.says("older than 0.5 s and dropped"))
    assert (found.level, found.values["stale"], found.values["embedded"]) == (WARN, "4", "0")
    assert "max_age:=" in found.values["to mend it"]
    assert not answers
    stamp = time.time_ns()
    camera.publish(picture(SCENE, "16UC1", stamp))
    robot.until(lambda: answers)
    assert stamp_of(answers[0]) == stamp


def test_a_mismatch_of_qos_is_named(robot: Robot, bundle: Bundle) -> None:
    camera = robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle.path, "reliable:=true")
    robot.until(lambda: robot.diagnosis() is not None)
    camera.publish(picture(SCENE, "16UC1", time.time_ns()))
    found = robot.until(robot.says("QoS mismatch"))
    assert found.level == ERROR
    assert "best effort, this node asks for reliable" in found.message
    assert found.values["to mend it"] == "`--ros-args -p reliable:=false`"
    assert found.values["qos incompatible"] == "RELIABILITY"
    assert found.values["received"] == "0"


def test_a_refused_engine_is_an_error_until_it_is_verified(robot: Robot, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {})
    robot.start(bundle.path)
    found = robot.until(robot.says("no passing report"))
    assert found.level == ERROR
    assert found.values["to mend it"].startswith(f"`advcal-edge verify {bundle.path} --engine ")
    assert robot.state() == "unconfigured"
    bundle.add(dict([report_for(Linear.random(thermal(8)).forward(), bundle=bundle)]))
    assert robot.transition("configure")
    assert robot.transition("activate")
    robot.until(robot.says("nobody publishes"))


def test_a_plan_for_another_card_is_an_error_with_the_export_command(robot: Robot, bundle: Bundle) -> None:
    name = add_plan(bundle, OTHER)
    robot.start(bundle.path, f"engine:={name}", program=HOST_NODE)
    found = robot.until(robot.says("plans do not move between devices"))
    assert found.level == ERROR
    assert found.values["to mend it"] == f"build it here: `advcal-edge export {bundle.path} --trt`"


@as_text
def test_the_self_test_at_start_is_told(robot: Robot, tmp_path: Path) -> None:
    engine, camera = robot.listen(String, "engine", LATCHED), robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle_to_replay(tmp_path).path)
    robot.match(camera)
    camera.publish(picture(SCENE, "16UC1", time.time_ns()))
    found = robot.until(robot.says("answers per second"))
    assert (found.level, found.values["verified"]) == (OK, "yes")
    assert found.values["self-test"].startswith("verified, 10 passes")
    robot.until(lambda: engine)
    assert told(engine[0])["selftest"] == "verified"


def test_an_engine_that_fails_its_self_test_does_not_run(robot: Robot, tmp_path: Path) -> None:
    robot.start(bundle_to_replay(tmp_path, honest=False).path)
    found = robot.until(robot.says("fails its self-test"))
    assert found.level == ERROR
    assert "embeddings moved" in found.message
    assert robot.state() == "unconfigured"


def test_an_engine_that_was_verified_elsewhere_runs_where_that_is_accepted(robot: Robot, tmp_path: Path) -> None:
    bundle = bundle_to_replay(tmp_path, place={"runs on": "onnxruntime 1.0.0", "processor": "another"})
    camera = robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle.path)
    found = robot.until(robot.says("only retested here"))
    assert found.level == ERROR
    assert "processor: another when verified" in found.message
    assert "-p accept_retested:=true" in found.values["to mend it"]
    robot.stop()
    robot.start(bundle.path, "accept_retested:=true")
    robot.match(camera)
    camera.publish(picture(SCENE, "16UC1", time.time_ns()))
    found = robot.until(lambda: (now := robot.diagnosis()) and now.values.get("embedded") == "1" and now)
    assert (found.level, found.values["verified"]) == (WARN, "no, retested")
    assert "onnxruntime 1.0.0 when verified" in found.message
    assert found.values["self-test"].startswith("retested, ")


@as_text
def test_answers_that_the_rule_does_not_trust_are_unsure(robot: Robot, tmp_path: Path) -> None:
    bundle = plain_bundle(tmp_path / "B")
    bundle = put(bundle, report_on(bundle))
    embedder, x = Embedder.load(bundle.path, require_verified=True), bundle.probe().x
    assert embedder.abstention is not None
    grey = np.round(x[:, 0] * 255).astype(np.uint8)  # as after a gain control
    z = embedder.embed_frames(list(grey))
    sure = [row[0].sure for row in embedder.match(z)]
    chosen = [sure.index(True), sure.index(False)]
    labels, camera = robot.listen(String, "labels"), robot.publisher(Image, 10)
    robot.start(bundle.path, "reliable:=true")
    robot.match(camera)
    for number, at in enumerate(chosen, 1):
        camera.publish(picture(grey[at], "mono8", time.time_ns()))
        robot.until(lambda number=number: len(labels) == number)
    certain, doubtful = map(told, labels)
    assert certain["sure"] is True
    assert certain["labels"][0]["label"] == embedder.match(z[chosen[0]][None])[0][0].label
    assert doubtful["sure"] is False
    assert [one["label"] for one in doubtful["labels"]] == ["unsure"]
    found = robot.until(lambda: (now := robot.diagnosis()) and now.values.get("unsure") == "1" and now)
    assert found.values["unsure below"] == f"a margin of {embedder.abstention.threshold:.4f}, alpha 0.05"


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_a_bag_played_into_the_node_gives_what_it_gives_offline(
    robot: Robot, bundle: Bundle, tmp_path: Path, form: str
) -> None:
    start, step = 1_700_000_000 * NANOSECONDS, 50_000_000
    frames = [warm_scene(24, 32, seed=seed) for seed in range(10)]
    recorded = [
        (start + at * step, image_message(frame, "16UC1", stamp=start + at * step)) for at, frame in enumerate(frames)
    ]
    path = write_bag(tmp_path, form, {"/thermal": ("sensor_msgs/msg/Image", recorded)})
    answers, camera = robot.listen(Image, "embedding", 20), robot.publisher(Image, 20)
    robot.start(bundle.path, "max_age:=0", "reliable:=true")
    robot.match(camera)
    with AnyReader([path]) as reader:
        for _, _, raw in reader.messages():
            camera.publish(raw)  # the bytes of the bag, as `ros2 bag play` hands them on
            robot.spin(step / NANOSECONDS)
    robot.until(lambda: len(answers) == len(frames))
    assert [stamp_of(one) for one in answers] == [at for at, _ in recorded]
    one_by_one = [Embedder.load(bundle.path).embed_frames([frame])[0] for frame in frames]
    np.testing.assert_array_equal([embedding(one) for one in answers], one_by_one)


def test_windows_of_motion(robot: Robot, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(motion_sensor()), ("fp32",), {})
    answers, sensor = robot.listen(Image, "embedding"), robot.publisher(Imu, 10)
    robot.start(bundle.path, "require_verified:=false", "max_age:=0", "stride:=0.5")
    robot.match(sensor)
    start = time.time_ns() - 2 * NANOSECONDS
    for index in range(31):
        message = Imu()
        message.header.frame_id = "imu"
        stamp_header(message.header, start + index * 50_000_000)
        message.linear_acceleration.z = 9.8 + 0.1 * np.sin(index)
        message.angular_velocity.x = 0.1 * np.cos(index)
        sensor.publish(message)
        robot.spin(0.005)
    robot.until(lambda: len(answers) == 2)
    assert [stamp_of(one) - start for one in answers] == [0, 500_000_000]
    assert robot.until(robot.says("no passing report")).level == WARN


def test_compressed_pictures(robot: Robot, bundle: Bundle) -> None:
    import cv2

    answers, camera = robot.listen(Image, "embedding"), robot.publisher(CompressedImage, qos_profile_sensor_data)
    parameters = ROOT / "ros" / "advcal_edge_ros" / "config" / "params.yaml"
    robot.start(bundle.path, "transport:=compressed", "max_age:=0", file=parameters)
    robot.match(camera)
    camera.publish(CompressedImage(format="16UC1; png compressed", data=cv2.imencode(".png", SCENE)[1].tobytes()))
    robot.until(lambda: answers)
    np.testing.assert_array_equal(embedding(answers[0]), Embedder.load(bundle.path).embed_frames([SCENE])[0])


def test_sound(robot: Robot, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(audio(16, 100)), ("fp32",), {})
    answers, microphone = robot.listen(Image, "embedding"), robot.publisher(Int16MultiArray, 10)
    robot.start(
        bundle.path,
        "require_verified:=false",
        "input_type:=std_msgs/msg/Int16MultiArray",
        "sample_rate:=16000",
        "stride:=0",
    )
    robot.match(microphone)
    sound = np.random.default_rng(0).integers(-9000, 9000, 1600).astype(np.int16)

    def answered() -> bool:  # the messages have no stamp: the time of their arrival counts
        microphone.publish(Int16MultiArray(data=sound.tolist()))
        robot.spin(0.1)
        return bool(answers)

    robot.until(answered)
    assert stamp_of(answers[0]) <= time.time_ns()
