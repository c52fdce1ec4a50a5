"""Arguments that ROS refuses are the user's, and no crash."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="no ROS here: docs/ros.md says how to install it")


@pytest.mark.parametrize("words", [["-r", "nonsense"], ["--nonsense"], ["--params-file", "nowhere.yaml"]])
def test_arguments_that_ros_refuses(words: list[str]) -> None:
    command = [sys.executable, "-m", "advcal_edge", "ros", "B", "--ros-args", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: ROS does not start with the arguments `--ros-args {' '.join(words)}`" in done.stderr
    assert "hint: " in done.stderr
