"""Sizes of the published point encoder: I2P-MAE (arXiv:2212.06785) as Point-Bind (arXiv:2309.00615) has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """One scale: so many groups of neighbours, and a transformer over the groups."""

    groups: int
    neighbours: int
    patch: tuple[int, int, int]
    """Widths inside a group: hidden and described point, hidden after the group is known."""

    width: int
    radius: float
    """Groups attend to those nearer than this, in radii of the cloud."""


@dataclass(frozen=True, slots=True)
class PointConfig:
    """Levels from fine to coarse; each takes its groups out of the centers of the one before."""

    points: int = 8192
    levels: tuple[Level, ...] = (
        Level(512, 48, (128, 256, 512), 96, 0.24),
        Level(256, 24, (96, 96, 192), 192, 0.48),
        Level(64, 24, (192, 192, 384), 384, 0.96),
    )
    depth: int = 5
    """Blocks in each level."""

    heads: int = 6
    bridge: int = 512
    """Width between encoder and the projection into ImageBind's space."""

    embedding_dim: int = 1024
