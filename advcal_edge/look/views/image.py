"""Camera frames, upright, with the part that the encoder gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from advcal_edge.look.facts import crop_shares, cropped, percent, quantity, ranged
from advcal_edge.look.plate import LONGEST, Pixels, Plate
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.runtime.sensors.files.image_header import read_image_header
from advcal_edge.runtime.sensors.files.orientation import UPRIGHT
from advcal_edge.runtime.sensors.files.sensor_file import read_sensor_file
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.spec import Modality
from advcal_edge.verify.thumbnails import paint

CHANNELS = {1: "grey", 3: "red, green, blue", 4: "red, green, blue, alpha (dropped)"}


TURNS = {
    UPRIGHT: "as stored",
    2: "mirrored, left for right",
    3: "turned by 180 degrees",
    4: "mirrored, top for bottom",
    5: "mirrored and turned by 90 degrees",
    6: "turned by 90 degrees, clockwise",
    7: "mirrored and turned by 90 degrees",
    8: "turned by 90 degrees, counterclockwise",
}
"""What the reader did, by the value that EXIF, XMP or TIFF states."""


def view(seen: Seen) -> View:
    """The view of an image."""
    frame = cast(Array, seen.frame)
    _, height, width = seen.modality.input.shape
    channels = frame.shape[2] if frame.ndim == 3 else 1
    shown = upright(frame, seen.modality)
    levels = np.rint(255 * shown)
    stored, used = 8 * frame.dtype.itemsize, int(frame.max()).bit_length()
    return View(
        [
            Fact("orientation", orientation(seen.path)),
            Fact("channels", CHANNELS.get(channels, str(channels))),
            Fact("bits", f"{stored} stored, {used} used"),
        ],
        [
            *ranged(frame.reshape(*frame.shape[:2], -1)[:, :, :3], "counts"),
            Fact("black", percent(levels == 0)),
            Fact("saturated", percent(levels == 255)),
        ],
        [cropped(frame.shape, height, width, "by averaging areas, at eight bits")],
        [
            Plate(
                "As it is, upright",
                f"{frame.shape[1]} x {frame.shape[0]} pixels",
                rgb(shown),
                crop=crop_shares(frame.shape, height, width),
            )
        ],
        [Plate("All channels", "", rgb(x)) for x in seen.x],
        f"{quantity(seen.step * 255, 'grey levels of 255', 3)} in each channel of each pixel",
    )


def orientation(path: Path) -> str:
    """How a picture was turned to stand upright."""
    claims = read_image_header(read_sensor_file(path))
    if claims is None:
        return TURNS[UPRIGHT]
    stated = claims.orientation if claims.tiff is None else (claims.tiff.whole or claims.tiff.pages)[0].orientation
    return TURNS.get(stated, TURNS[UPRIGHT])


def upright(frame: Array, modality: Modality) -> Array:
    """A whole frame (3, h, w) in [0, 1], as an encoder of its own proportions would get it."""
    scale = min(1.0, LONGEST / max(frame.shape[:2]))
    sides = (max(1, round(side * scale)) for side in frame.shape[:2])
    whole: Array = preprocess(replace(modality, input=replace(modality.input, shape=(3, *sides))), [frame])[0]
    return whole


def rgb(x: Array) -> Pixels:
    """(3, h, w) in [0, 1] as pixels."""
    return paint(np.ascontiguousarray(x.transpose(1, 2, 0)))
