"""Pictures of inputs in the sensor's usual form: frames, palettes, spectrograms, curves, point clouds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.spec import Modality

AMPLIFIED = 8  # otherwise the difference is invisible
FRAMES, FRAME_HEIGHT = 3, 128  # of a clip, evenly spaced
LONGEST = 512  # pixels; a page holds eighteen pictures
PLOT_HEIGHT, PLOT_WIDTH = 80, 192  # of one curve
CURVES = ("acc x", "acc y", "acc z", "gyro x", "gyro y", "gyro z")
FLAT = 0.05  # least range of a curve, as a share of its full scale: noise of a sensor at rest must not fill the plot
CLOUD = 192  # height and width of one view of a cloud
PAPER, INK, RULE, NIGHT = (255, 255, 255), (138, 88, 49), (215, 215, 215), (28, 24, 21)  # blue, green, red

Unit = NDArray[np.float32]
"""One sample without its batch axis, bounds mapped to [0, 1]."""
Pixels = NDArray[np.uint8]
"""(h, w) or (h, w, 3) in the order blue, green, red."""
Look = Callable[[Unit, Unit], tuple[Pixels, Pixels, Pixels]]
"""Make three pictures of a clean and an adversarial sample: clean, difference, adversarial."""


def can_show(modality: Modality) -> bool:
    """Can inputs of this sensor be drawn? Frames of one or three channels always can."""
    shape = modality.input.shape
    return modality.name in LOOKS or (len(shape) == 3 and shape[0] in (1, 3))


def views(clean: Unit, adversarial: Unit, modality: Modality) -> dict[str, Any]:
    """`clean`, amplified `difference` and `adversarial` as PNG in base64, and whether they are `wide`."""
    pictures = LOOKS.get(modality.name, raster(frame))(clean, adversarial)
    height, width = pictures[0].shape[:2]
    shown = {name: png(picture) for name, picture in zip(("clean", "difference", "adversarial"), pictures, strict=True)}
    return {**shown, "wide": width > 1.5 * height}


def raster(arrange: Callable[[Unit], Unit], palette: int | None = None) -> Look:
    """Draw values as an image, one channel in a palette; the difference without a palette, around mid-grey."""

    def look(clean: Unit, adversarial: Unit) -> tuple[Pixels, Pixels, Pixels]:
        difference = 0.5 + AMPLIFIED * (adversarial - clean)
        return (
            paint(arrange(clean), palette),
            paint(arrange(difference)),
            paint(arrange(adversarial), palette),
        )

    return look


def frame(sample: Unit) -> Unit:
    """(c, h, w) as (h, w, c)."""
    return sample.transpose(1, 2, 0)


def spectrogram(sample: Unit) -> Unit:
    """(1, mel, time) as (mel, time, 1), low frequencies at the bottom."""
    return frame(sample)[::-1]


def film(sample: Unit) -> Unit:
    """(3, t, h, w) as a few frames side by side (h, w, 3)."""
    t, h, w = sample.shape[1:]
    scale = min(1.0, FRAME_HEIGHT / h)
    size = (round(w * scale), round(h * scale))
    chosen = np.unique(np.linspace(0, t - 1, min(FRAMES, t)).round().astype(int))
    frames = [cv2.resize(frame(sample[:, k]), size, interpolation=cv2.INTER_AREA) for k in chosen]
    return np.concatenate(frames, axis=1)


def curves(clean: Unit, adversarial: Unit) -> tuple[Pixels, Pixels, Pixels]:
    """(6, t) as six plots, acceleration next to angular rate; in the clean sample's scale, the change in its own."""
    low, high = clean.min(axis=1), clean.max(axis=1)
    middle, half = (low + high) / 2, np.maximum(high - low, FLAT) * 0.6
    change = adversarial - clean
    largest = np.full(len(clean), 1.25 * max(float(np.abs(change).max()), 1e-6), np.float32)
    return (
        plots(clean, middle, half),
        plots(change, np.zeros_like(largest), largest),
        plots(adversarial, middle, half),
    )


def plots(values: Unit, middle: Unit, half: Unit) -> Pixels:
    """Channels (c, t) in two columns, each from `middle - half` to `middle + half`."""
    drawn = []
    x = np.linspace(0, PLOT_WIDTH - 1, values.shape[1])
    for k, row in enumerate(values):
        plot = np.full((PLOT_HEIGHT, PLOT_WIDTH, 3), PAPER, np.uint8)
        cv2.rectangle(plot, (0, 0), (PLOT_WIDTH - 1, PLOT_HEIGHT - 1), RULE)
        y = (0.5 - (row - middle[k]) / (2 * half[k])) * (PLOT_HEIGHT - 1)
        line = np.stack([x, np.clip(y, 0, PLOT_HEIGHT - 1)], axis=1).round().astype(np.int32)
        cv2.polylines(plot, [line], False, INK, 1, cv2.LINE_AA)
        name = CURVES[k] if len(values) == len(CURVES) else str(k)
        cv2.putText(plot, name, (5, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (96, 96, 96), 1, cv2.LINE_AA)
        drawn.append(plot)
    rows = (len(drawn) + 1) // 2
    drawn += [np.full_like(drawn[0], 255)] * (2 * rows - len(drawn))
    return np.hstack([np.vstack(drawn[:rows]), np.vstack(drawn[rows:])])


def cloud(clean: Unit, adversarial: Unit) -> tuple[Pixels, Pixels, Pixels]:
    """(p, 3) from the front and from above; in the difference each point is moved further along its displacement."""
    further = clean + AMPLIFIED * (adversarial - clean)
    return scatter(clean), scatter(further), scatter(adversarial)


def scatter(points: Unit) -> Pixels:
    """Two views of points (p, 3), near points last and bright: along the third axis, and along the second."""
    drawn = []
    for right, up, depth in ((0, 1, 2), (0, 2, 1)):
        view = np.full((CLOUD, CLOUD, 3), NIGHT, np.uint8)
        order = np.argsort(points[:, depth])
        colours = paint(points[order, depth][:, None, None], cv2.COLORMAP_VIRIDIS)[:, 0]
        places = np.stack([points[order, right], 1 - points[order, up]], axis=1) * (CLOUD - 1)
        for place, colour in zip(places.round().astype(int).tolist(), colours.tolist(), strict=True):
            cv2.circle(view, place, 1, colour, cv2.FILLED)
        drawn.append(view)
    return np.hstack(drawn)


def paint(values: Unit, palette: int | None = None) -> Pixels:
    """Values (h, w, c) in [0, 1] as pixels, clipped; three channels are red, green, blue."""
    pixels: NDArray[Any] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    if pixels.shape[2] == 3:
        return pixels[:, :, ::-1]
    flat = np.ascontiguousarray(pixels[:, :, 0])
    return flat if palette is None else np.asarray(cv2.applyColorMap(flat, palette), np.uint8)


def png(pixels: Pixels) -> str:
    """Encode as PNG in base64, shrunk if a side is longer than a page needs."""
    height, width = pixels.shape[:2]
    scale = LONGEST / max(height, width)
    image = np.ascontiguousarray(pixels)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return base64.b64encode(encoded.tobytes()).decode("ascii")


LOOKS: Mapping[str, Look] = {
    "image": raster(frame),
    "event": raster(frame),
    "thermal": raster(frame, cv2.COLORMAP_INFERNO),
    "depth": raster(frame, cv2.COLORMAP_MAGMA),
    "audio": raster(spectrogram, cv2.COLORMAP_VIRIDIS),
    "video": raster(film),
    "imu": curves,
    "point": cloud,
}
"""Palettes are perceptually uniform: equal steps in value look equal."""
