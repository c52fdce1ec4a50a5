"""The ROS 2 node around `Embedder`. Only `robot.node` imports ROS; what the node decides is in the other files."""

from __future__ import annotations

from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.robot.intake import Answer, Intake
from advcal_edge.robot.settings import NodeSettings

__all__ = ["Answer", "Diagnosis", "Intake", "Level", "NodeSettings"]
