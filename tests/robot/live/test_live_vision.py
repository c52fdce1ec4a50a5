"""Where `vision_msgs` is installed, labels and what runs are its messages."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS here: docs/ros.md says how to install it")
pytest.importorskip("vision_msgs", reason="no vision_msgs here: on a robot `apt install ros-$ROS_DISTRO-vision-msgs`")

from live_robot import Robot, picture, stamp_of
from rclpy.qos import qos_profile_sensor_data
from ros import warm_scene
from ruled import plain_bundle, put, report_on
from sensor_msgs.msg import Image
from verified import bundle_to_replay
from vision_msgs.msg import Classification, LabelInfo, VisionInfo

from advcal_edge.robot.node import LATCHED
from advcal_edge.runtime import Embedder


def test_what_runs_and_its_labels(robot: Robot, tmp_path: Path) -> None:
    bundle = bundle_to_replay(tmp_path)
    labels, camera = robot.listen(Classification, "labels"), robot.publisher(Image, qos_profile_sensor_data)
    robot.start(bundle.path, "top_k:=2", "min_score:=0.0001")
    robot.match(camera)
    robot.until(lambda: len(robot.tools.get_publishers_info_by_topic(f"{robot.namespace}/advcal_edge/labels")) == 1)
    robot.spin(0.2)
    stamp, scene = time.time_ns(), warm_scene(24, 32)
    camera.publish(picture(scene, "16UC1", stamp))
    robot.until(lambda: labels)
    embedder = Embedder.load(bundle.path)
    best = embedder.match(embedder.embed_frames([scene]), 2)[0]
    assert [(one.class_id, one.score) for one in labels[0].results] == [(one.label, one.score) for one in best]
    assert (stamp_of(labels[0]), labels[0].header.frame_id) == (stamp, "camera")

    classes = robot.listen(LabelInfo, "label_info", LATCHED)  # only now: they are kept for whoever comes later
    about = robot.listen(VisionInfo, "vision_info", LATCHED)
    robot.until(lambda: classes and about)
    named = {one.class_id: one.class_name for one in classes[0].class_map}
    assert named == dict(enumerate(embedder.labels))
    assert classes[0].threshold == pytest.approx(1e-4)
    what = json.loads(about[0].method)
    assert about[0].database_location == str(bundle.path)
    assert (what["fingerprint"], what["verified"], what["selftest"]) == (embedder.fingerprint, True, "verified")


def test_an_answer_that_is_not_trusted_has_one_class(robot: Robot, tmp_path: Path) -> None:
    bundle = plain_bundle(tmp_path / "B")
    bundle = put(bundle, report_on(bundle))
    embedder = Embedder.load(bundle.path, require_verified=True)
    grey = np.round(bundle.probe().x[:, 0] * 255).astype(np.uint8)
    best = [embedder.match(embedder.embed_frames([frame]))[0][0] for frame in grey[:40]]
    at = [match.sure for match in best].index(False)
    labels, camera = robot.listen(Classification, "labels"), robot.publisher(Image, 10)
    robot.start(bundle.path, "reliable:=true")
    robot.match(camera)
    camera.publish(picture(grey[at], "mono8", time.time_ns()))
    robot.until(lambda: labels)
    assert [(one.class_id, one.score) for one in labels[0].results] == [("unsure", best[at].score)]
