"""`doctor` where ROS is installed: what works, and the memory that is too small for a picture."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy", reason="no ROS here: docs/ros.md says how to install it")

from advcal_edge.cli import main
from advcal_edge.robot.fast_dds import BEFORE, PROFILE, VARIABLE, profile_variable

Capture = pytest.CaptureFixture[str]


def probes(capsys: Capture) -> dict[str, dict[str, object]]:
    """What `doctor` finds."""
    main(["doctor", "--json", "--for", "ros"])
    found = json.loads(capsys.readouterr().out)
    assert found["capabilities"]["ros"]
    probes: dict[str, dict[str, object]] = found["probes"]
    return probes


def test_shared_memory_against_a_picture(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, BEFORE):
        monkeypatch.delenv(name, raising=False)
    found = probes(capsys)
    assert found["ros"]["works"]
    assert "rmw_fastrtps_cpp" in str(found["ros-rmw"]["detail"])
    assert not found["ros-memory"]["works"]
    assert f"export {profile_variable()}={PROFILE}" in str(found["ros-memory"]["detail"])
    monkeypatch.setenv(profile_variable(), str(PROFILE))
    assert probes(capsys)["ros-memory"]["works"]


def test_humble_wants_numpy_1(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probes(capsys)["ros-numpy"]["works"]
    monkeypatch.setenv("ROS_DISTRO", "humble")
    found = probes(capsys)["ros-numpy"]
    assert not found["works"]
    assert "cv_bridge" in str(found["detail"])
