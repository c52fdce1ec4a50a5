"""The package of ROS around the node: its parameters are the node's, and its installation holds every file."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree
from xml.etree import ElementTree

import pytest
from checkout import ROOT

from advcal_edge.robot import NodeSettings
from advcal_edge.robot.fast_dds import PROFILE

PACKAGE = ROOT / "ros" / "advcal_edge_ros"


def test_the_file_of_parameters_has_each_with_its_default() -> None:
    yaml = pytest.importorskip("ruamel.yaml", reason="no reader of YAML here")
    found = yaml.YAML(typ="safe").load(PACKAGE / "config" / "params.yaml")
    assert found == {"/**": {"ros__parameters": NodeSettings.defaults()}}


def test_every_parameter_is_documented() -> None:
    told = (ROOT / "docs" / "ros.md").read_text()
    assert not [name for name in NodeSettings.defaults() if f"| `{name}` |" not in told]


def test_what_is_installed(tmp_path: Path) -> None:
    copytree(PACKAGE, tmp_path / "package")  # links become files
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path / "package", check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        share = "advcal_edge_ros-0.1.0.data/data/share/"
        names = {name.removeprefix(share) for name in archive.namelist()}
        profile = archive.read(f"{share}advcal_edge_ros/config/large_frames.xml")
        starts = archive.read("advcal_edge_ros-0.1.0.dist-info/entry_points.txt").decode()
    kept = [
        path for folder in ("launch", "config", "foxglove") for path in (PACKAGE / folder).iterdir() if path.is_file()
    ]
    assert len(kept) == 4
    assert {f"advcal_edge_ros/{path.relative_to(PACKAGE)}" for path in kept} <= names
    assert {"ament_index/resource_index/packages/advcal_edge_ros", "advcal_edge_ros/package.xml"} <= names
    assert profile == PROFILE.read_bytes()
    assert "embed_node = advcal_edge_ros.embed_node:main" in starts


def test_its_description_names_what_it_needs() -> None:
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()  # noqa: S314  # our own file
    assert package.findtext("export/build_type") == "ament_python"
    needed = {one.text for one in package.iter("exec_depend")}
    assert {"rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs", "rcl_interfaces", "launch_ros"} <= needed


def test_the_layout_shows_the_topics_of_the_node() -> None:
    layout = json.loads((PACKAGE / "foxglove" / "embedding.json").read_text())
    assert layout["configById"]["DiagnosticStatusPanel!node"]["selectedName"] == "/advcal_edge: embedding"
    shown = json.dumps(layout["layout"])
    assert not [panel for panel in layout["configById"] if panel not in shown]
