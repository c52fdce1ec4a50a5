"""Synthetic scenes: one landscape with one object, as cameras, a ranging sensor and a microphone have it."""

from __future__ import annotations

from advcal_edge.calibrate.data.scenes.objects import NAMES
from advcal_edge.calibrate.data.scenes.rendering import render, scene_samples, scenes
from advcal_edge.calibrate.data.scenes.scene import Scene

__all__ = ["NAMES", "Scene", "render", "scene_samples", "scenes"]
