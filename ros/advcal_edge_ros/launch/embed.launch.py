"""`ros2 launch advcal_edge_ros embed.launch.py bundle:=/path/to/bundle input:=/camera/image_raw`."""

from __future__ import annotations

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "bundle": (None, "folder of the bundle"),
    "input": ("input", "topic of the sensor, like /camera/image_raw"),
    "name": ("advcal_edge", "name of the node"),
    "namespace": ("", "namespace of the node"),
    "engine": ("auto", "auto, a precision like int8, or a path"),
    "autostart": ("true", "configure and activate at start"),
}

BEFORE_FAST_DDS_3 = os.environ.get("ROS_DISTRO") in ("humble", "jazzy")
PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE" if BEFORE_FAST_DDS_3 else "FASTDDS_DEFAULT_PROFILES_FILE"


def generate_launch_description() -> LaunchDescription:
    """The node with its parameters; every argument that is not here is set in a file, given as `params`."""
    share = FindPackageShare("advcal_edge_ros")
    profile = PathJoinSubstitution([share, "config", "large_frames.xml"])
    parameters = PathJoinSubstitution([share, "config", "params.yaml"])
    value = LaunchConfiguration
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            DeclareLaunchArgument("params", default_value=parameters, description="file of parameters"),
            DeclareLaunchArgument("fast_dds", default_value=profile, description="profile of Fast DDS"),
            SetEnvironmentVariable(PROFILE_VARIABLE, value("fast_dds")),
            LifecycleNode(
                package="advcal_edge_ros",
                executable="embed_node",
                name=value("name"),
                namespace=value("namespace"),
                parameters=[
                    value("params"),
                    {
                        "bundle": ParameterValue(value("bundle"), value_type=str),
                        "engine": ParameterValue(value("engine"), value_type=str),
                        "autostart": ParameterValue(value("autostart"), value_type=bool),
                    },
                ],
                remappings=[("input", value("input"))],
                output="screen",
            ),
        ]
    )
