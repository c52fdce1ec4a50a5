"""Pictures: frames in a palette with a bar in physical units, holes as a checkerboard, projections with axes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.plots import Axis
from advcal_edge.report.typography import number
from advcal_edge.verify.thumbnails import paint

Pixels: TypeAlias = NDArray[np.uint8]
"""(h, w) or (h, w, 3) in the order blue, green, red."""

INFERNO, MAGMA, VIRIDIS = cv2.COLORMAP_INFERNO, cv2.COLORMAP_MAGMA, cv2.COLORMAP_VIRIDIS
"""Perceptually uniform: equal steps in value look equal, in grey and to colour-blind readers too."""

LONGEST = 640  # pixels of a picture's longer side
CHECK = 4  # pixels of a field of the checkerboard


@dataclass(frozen=True, slots=True)
class Bar:
    """A palette from its start to its end, with labels at places in percent; a second row is in other units."""

    palette: Pixels
    name: str
    ticks: Sequence[tuple[float, str]]
    second: Sequence[tuple[float, str]] = ()
    second_name: str = ""


@dataclass(frozen=True, slots=True)
class Axes:
    """Names and labels of both axes of a projection, at places in percent right and down."""

    x_name: str
    y_name: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Plate:
    """A picture that keeps its proportions; `crop` is the part that the encoder gets, in shares of its sides."""

    title: str
    note: str
    pixels: Pixels = field(compare=False)
    bar: Bar | None = None
    crop: tuple[float, float, float, float] | None = None
    """Left, top, width and height."""
    axes: Axes | None = None

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return data_uri(self.pixels)

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.pixels.shape[0])


def data_uri(pixels: Pixels) -> str:
    """Pixels as a PNG inside the page."""
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels), (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def shrink(values: NDArray[Any], *, average: bool = True) -> NDArray[Any]:
    """A frame (h, w) or (h, w, c) of at most `LONGEST` pixels a side, by areas or by single pixels."""
    height, width = values.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return values
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    if not average:
        picked: NDArray[Any] = values[np.arange(rows)[:, None] * height // rows, np.arange(columns) * width // columns]
        return picked
    averaged: NDArray[Any] = cv2.resize(np.ascontiguousarray(values), (columns, rows), interpolation=cv2.INTER_AREA)
    return averaged


def coloured(
    values: NDArray[Any], low: float, high: float, palette: int, holes: NDArray[np.bool_] | None = None
) -> Pixels:
    """Values (h, w) in a palette from `low` to `high`; holes are a grey checkerboard, which no palette has."""
    share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    if holes is not None:
        share = np.where(holes, 0, share)
    picture = paint(share.astype(np.float32)[:, :, None], palette)
    if holes is not None and holes.any():
        rows, columns = np.indices(values.shape)
        light = (rows // CHECK + columns // CHECK) % 2 == 0
        picture = np.where(holes[:, :, None], np.where(light, 205, 150)[:, :, None], picture).astype(np.uint8)
    return picture


def bar(low: float, high: float, palette: int, name: str, second: tuple[float, float, str] | None = None) -> Bar:
    """The bar of a palette from `low` to `high`; `second` is the same range in another unit."""
    strip = paint(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], palette)
    ticks = labels(Axis(low, high, 0.0, 100.0), 6)
    if second is None:
        return Bar(strip, name, ticks)
    return Bar(strip, name, ticks, labels(Axis(second[0], second[1], 0.0, 100.0), 6), second[2])


def labels(axis: Axis, most: int) -> list[tuple[float, str]]:
    """About `most` round values along an axis, each with its place."""
    if not axis.high > axis.low:
        return [((axis.start + axis.end) / 2, number(axis.low, 6))]
    return [(axis.at(value), number(value, 6)) for value in axis.ticks(most)]
