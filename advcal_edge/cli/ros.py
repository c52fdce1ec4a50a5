"""`advcal-edge ros`: the ROS 2 node around a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from advcal_edge.errors import ConfigError, DependencyError

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
"""ROS has options of its own, after `--ros-args`."""


def ros(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, written by `calibrate` or `demo`.")],
) -> None:
    """Run the ROS 2 node: messages of the bundle's sensor in; embeddings, labels and diagnostics out.

    What follows `--ros-args` is for ROS: `-r input:=/camera/image_raw`, `-p engine:=int8`, `--params-file FILE`.
    """
    words = [str(bundle), *context.args]
    if words[0].startswith("-") or words[1:2] not in ([], ["--ros-args"]):
        raise ConfigError(
            f"the arguments are `{' '.join(words)}`; expected a bundle, then `--ros-args` and what is for ROS",
            hint="what is for ROS: `--ros-args -r input:=/camera/image_raw -p engine:=int8`",
        )
    try:
        from advcal_edge.robot.node import main
    except ImportError as error:
        raise DependencyError(
            "ros-rclpy",
            extra="ros",
            purpose="the ROS 2 node",
            hint="`source /opt/ros/$ROS_DISTRO/setup.bash` where ROS is installed; else, in an environment of its own:"
            " pip install 'advcal-edge[cpu,ros]'",
        ) from error
    raise typer.Exit(main(context.args, str(bundle)))
