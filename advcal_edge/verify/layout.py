"""What the axes of a batch mean: channels, rows, and the axes along which a scene moves."""

from __future__ import annotations

from advcal_edge.spec import TensorSpec

ROWS = "hftp"
"""Rows by preference: lines of a picture, bands of a spectrogram, moments, points."""
PLACES = {"chw": "hw", "cthw": "hw", "cft": "t", "ct": "t", "pc": "c"}
"""Per layout the axes along which a scene moves: space, or time. Points turn instead: their coordinates take turns."""


def channel_axis(spec: TensorSpec) -> int | None:
    """Axis of the channels in a batch (n, ...); None if its layout names none."""
    return spec.layout.index("c") + 1 if "c" in spec.layout else None


def row_axis(spec: TensorSpec) -> int:
    """Axis of the rows in a batch (n, ...); the last if its layout names none."""
    return next((spec.layout.index(letter) + 1 for letter in ROWS if letter in spec.layout), len(spec.shape))


def place_axes(spec: TensorSpec) -> list[int]:
    """Axes of a batch (n, ...) along which a scene moves; the last if the layout is not known."""
    return [spec.layout.index(letter) + 1 for letter in PLACES.get(spec.layout, "")] or [len(spec.shape)]
