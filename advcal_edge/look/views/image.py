"""Camera frames, upright, with the part that the encoder gets."""

from __future__ import annotations

from typing import cast

import numpy as np

from advcal_edge.look.facts import crop_shares, cropped, quantity, ranged
from advcal_edge.look.plate import Pixels, Plate, shrink
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.frame import Array
from advcal_edge.verify.thumbnails import paint

CHANNELS = {1: "grey", 2: "grey", 3: "red, green, blue", 4: "red, green, blue, alpha (dropped)"}


def view(seen: Seen) -> View:
    """The view of an image."""
    frame = cast(Array, seen.frame)
    _, height, width = seen.modality.input.shape
    planes = frame.reshape(*frame.shape[:2], -1)
    colour = planes[:, :, : 3 if planes.shape[2] > 2 else 1]
    used = int(colour.max()).bit_length()
    full = 2.0 ** (seen.modality.number("significant_bits", 0) or 8 * frame.dtype.itemsize) - 1
    read = [
        Fact("channels", CHANNELS.get(planes.shape[2], str(planes.shape[2]))),
        Fact("bits", f"{8 * frame.dtype.itemsize} stored, {used} used"),
    ]
    measured = [
        *ranged(colour, "counts"),
        Fact("full scale", f"{full:g} counts; black {share_of(colour == 0)}, saturated {share_of(colour >= full)}"),
    ]
    picture = paint((shrink(colour).reshape(*shrink(colour).shape[:2], -1) / np.float32(full)).astype(np.float32))
    size = f"{frame.shape[1]} x {frame.shape[0]} pixels"
    return View(
        read,
        measured,
        [cropped(frame.shape, height, width, "by averaging areas, at eight bits")],
        [Plate("As it is, upright", size, picture, crop=crop_shares(frame.shape, height, width))],
        [Plate(f"Clip {k}" if len(seen.x) > 1 else "All channels", "", rgb(x)) for k, x in enumerate(seen.x, 1)],
        f"{quantity(seen.step * 255, 'grey levels of 255', 3)} in each channel of each pixel",
    )


def share_of(where: Array) -> str:
    """The share of true values, in percent."""
    return f"{100 * float(where.mean()):.3g} %"


def rgb(x: Array) -> Pixels:
    """(3, h, w) in [0, 1] as pixels."""
    return paint(np.ascontiguousarray(x.transpose(1, 2, 0)))
