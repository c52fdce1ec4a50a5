"""ROS is imported in one file and everything else loads without it; the command says what is missing or misplaced."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys

import pytest
from checkout import ROOT

from advcal_edge.cli import main

OF_ROS = {"rclpy", "rcl_interfaces", "sensor_msgs", "std_msgs", "diagnostic_msgs", "vision_msgs"}


def imported(text: str) -> set[str]:
    """The first part of every module that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_one_file_imports_ros() -> None:
    files = {file.name for file in (ROOT / "robot").glob("*.py") if imported(file.read_text()) & OF_ROS}
    assert files == {"node.py"}
    others = ("advcal_edge/attacks", "advcal_edge/verify", "runtime", "export", "calibrate")
    assert not [file for top in others for file in (ROOT / top).rglob("*.py") if imported(file.read_text()) & OF_ROS]


def test_the_rest_loads_nothing_heavy() -> None:
    modules = [f"advcal_edge.robot.{file.stem}" for file in (ROOT / "robot").glob("*.py") if file.stem != "node"]
    code = f"import sys, {', '.join(modules)}; print(sorted({{'torch', 'onnx', 'typer', 'rclpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is not None, reason="ROS is installed here")
def test_without_ros_the_command_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ros", "B", "--ros-args", "-r", "input:=/camera", "-p", "top_k:=1"]) == 2
    told = capsys.readouterr().err
    assert "the ROS 2 node needs the package `ros-rclpy`" in told
    assert "pip install 'advcal-edge[cpu,ros]'" in told
    assert "setup.bash" in told


@pytest.mark.parametrize("words", [["B", "-p", "top_k:=1"], ["B", "more"], ["--ros-args", "-p", "top_k:=1", "B"]])
def test_what_ros_would_ignore_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ros", *words]) == 2
    assert "expected a bundle, then `--ros-args`" in capsys.readouterr().err
