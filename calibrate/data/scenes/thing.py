"""Things in a scene: parts at their place and distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advcal_edge.calibrate.data.scenes.shapes import AT_REST, Outline, Part, Point, Pose, moved

FAR = 40.0
"""Metres beyond which no depth camera sees."""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Parts at their place: `scale` and `centre` in shares of the frame, `angle` in radians."""

    parts: tuple[Part, ...]
    scale: float
    angle: float
    centre: Point
    mirror: bool
    distance: float = FAR
    """Metres to its plane."""
    depth: float = 0.1
    """Metres by which its middle stands out of its plane."""

    def outline(self, part: Part, side: int, pose: Pose = AT_REST) -> Outline:
        """Pixels (k, 2) of a part in a frame of `side` pixels."""
        turn = np.array([[np.cos(self.angle), np.sin(self.angle)], [-np.sin(self.angle), np.cos(self.angle)]])
        flip = np.array([-1.0 if self.mirror else 1.0, 1.0])
        centre = np.asarray((side * (self.centre[0] + pose.offset[0]), side * (self.centre[1] + pose.offset[1])))
        placed: Outline = centre + self.scale * side * (moved(part, pose) * flip) @ turn
        return placed

    def base(self) -> float:
        """Share of the height where it touches the ground."""
        lowest = [self.outline(part, 1)[:, 1].max() for part in self.parts if not part.detail]
        return float(max(lowest, default=self.centre[1] + 0.3 * self.scale))
