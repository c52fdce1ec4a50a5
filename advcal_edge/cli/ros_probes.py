"""Probes for the ROS 2 node: rclpy, the middleware, its shared memory against a frame, NumPy. Nothing is discovered."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path

from advcal_edge.cli.expectation import expect

SHARED = Path("/dev/shm")  # noqa: S108  # where POSIX shared memory is
FAST_DDS = "rmw_fastrtps_cpp"
HUMBLE = "humble"


def rclpy_message() -> str:
    """Load rclpy, and bring a message to bytes and back through the middleware's own code."""
    import rclpy
    from rclpy.serialization import deserialize_message, serialize_message
    from std_msgs.msg import String

    said = deserialize_message(serialize_message(String(data="probe")), String).data
    expect(said == "probe", f"a message came back as {said!r}")
    return f"{distribution()}: rclpy loads from {Path(rclpy.__file__).parent}, a message survives it"


def middleware() -> str:
    """Which middleware would be used, and whether it loads."""
    rclpy = import_module("rclpy")
    used = str(rclpy.utilities.get_rmw_implementation_identifier())
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    return f"{used}, domain {os.environ.get('ROS_DOMAIN_ID', '0')}, discovery {reach}"


def shared_memory() -> str:
    """Is Fast DDS's shared memory large enough for a colour frame of 640 x 480, and is there as much?"""
    from advcal_edge.robot.fast_dds import COMMON_FRAME, segment_bytes, set_profile

    used = str(import_module("rclpy").utilities.get_rmw_implementation_identifier())
    if used != FAST_DDS:
        return f"{used} has no segment of fixed size"
    segment = segment_bytes(os.environ)
    frame = f"a colour frame of 640 x 480 has {COMMON_FRAME / 1024:.0f}"
    expect(
        segment > COMMON_FRAME,
        f"Fast DDS has {segment / 1024:.0f} KiB of shared memory, {frame}: most frames get lost; where frames are"
        f" published: {set_profile()}",
    )
    free = shutil.disk_usage(SHARED).free
    expect(
        free > segment,
        f"{SHARED} has {free / 1024:.0f} KiB left, Fast DDS takes {segment / 1024:.0f} for each process that publishes;"
        " in a container: `docker run --shm-size=512m`",
    )
    return f"Fast DDS has {segment / 1024:.0f} KiB, {frame}"


def numpy_version() -> str:
    """Can packages of this distribution that are made for NumPy 1 share the environment?"""
    import numpy as np

    import_module("rclpy")
    version = np.__version__
    expect(
        distribution() != HUMBLE or version.startswith("1."),
        f"numpy {version}, and Humble's cv_bridge was built for numpy 1: this node does not need cv_bridge, so give it"
        " an environment of its own, or `pip install 'numpy<2'` here",
    )
    return f"numpy {version} with {distribution()}"


def distribution() -> str:
    """Name of the ROS distribution; of wheels, which set no variable, the version of rclpy."""
    from advcal_edge.provenance import package_version

    name = os.environ.get("ROS_DISTRO")
    return name or f"wheels, rclpy {package_version('rclpy')}"
