"""Point clouds from three sides, in one scale, coloured by height."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.plate import VIRIDIS, Axes, Bar, Pixels, Plate, coloured, labels
from advcal_edge.report.plots import Axis
from advcal_edge.verify.thumbnails import paint

SQUARE = 256  # pixels
NIGHT = (28, 24, 21)  # blue, green, red
DARKEST = 0.25
"""Where the palette starts: its darkest colours would vanish in the night."""

DENSE = 4000
"""Points from which on each is drawn small."""

VIEWS = (("seen from +z", 0, 1, 2, 1), ("seen from \N{MINUS SIGN}y", 0, 2, 1, -1), ("seen from +x", 1, 2, 0, 1))
"""Title, the axes to the right, upwards and towards the viewer, and the sign of the last."""


def projections(
    points: NDArray[np.float64], unit: str, note: str = "", limits: tuple[float, float] | None = None
) -> list[Plate]:
    """Three orthogonal views of points (p, 3); near points cover far ones. `limits` are those of all axes."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 * 1.04 or 1.0
    if limits is not None:
        middle, half = np.zeros(3), max(map(abs, limits)) * 1.04
    bottom, top = float(low[2]), float(high[2])
    start = bottom - (top - bottom) * DARKEST / (1 - DARKEST)
    colours = coloured(points[:, 2:], start, top, VIRIDIS)[:, 0]
    strip = paint(np.linspace(DARKEST, 1, 256, dtype=np.float32)[None, :, None], VIRIDIS)
    plates = []
    for title, right, up, towards, sign in VIEWS:
        order = np.argsort(sign * points[:, towards], kind="stable")
        picture = scatter(
            (points[order, right] - middle[right] + half) / (2 * half),
            (middle[up] + half - points[order, up]) / (2 * half),
            colours[order],
        )
        x = Axis(middle[right] - half, middle[right] + half, 0.0, 100.0)
        y = Axis(middle[up] - half, middle[up] + half, 100.0, 0.0)
        x_ticks, y_ticks = labels(x, 5), labels(y, 5)
        axes = Axes(f"{'xyz'[right]} in {unit}", f"{'xyz'[up]} in {unit}", x_ticks, y_ticks)
        palette = Bar(strip, f"z in {unit}", labels(Axis(bottom, top, 0.0, 100.0), 6)) if towards == 2 else None
        plates.append(Plate(title, note, picture, palette, axes=axes))
    return plates


def scatter(across: NDArray[np.float64], down: NDArray[np.float64], colours: Pixels) -> Pixels:
    """Points (p,) at shares of a square as blocks of pixels, later ones on top."""
    picture = np.full((SQUARE, SQUARE, 3), NIGHT, np.uint8)
    side = 2 if len(colours) > DENSE else 4
    column, row = (np.clip(share * SQUARE - side / 2, 0, SQUARE - side).astype(int) for share in (across, down))
    for k in range(side * side):
        picture[row + k // side, column + k % side] = colours
    return picture
