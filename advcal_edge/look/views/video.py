"""Films as contact sheets with time stamps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.limits import FILM_BYTES
from advcal_edge.look.facts import cropped, quantity, ranged
from advcal_edge.look.plate import Pixels, Plate
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.runtime.sensors.files.sensor_file import open_sensor_file
from advcal_edge.runtime.sensors.frame import Array, Recording
from advcal_edge.runtime.sensors.video import Excerpt, choose_frames
from advcal_edge.spec import Modality

SHEET = 12
"""Pictures of a contact sheet."""

ACROSS = 4  # pictures in a row
WIDTH, SMALL = 200, 144  # pixels of a picture
GAP = 4  # transparent pixels between pictures


def view(seen: Seen) -> View:
    """The view of a film."""
    recording, modality = cast(Recording, seen.frame), seen.modality
    frames = recording.frames if isinstance(recording, Excerpt) else len(recording.values)
    _, each, height, width = modality.input.shape
    rate, seconds = recording.rate, modality.number("seconds")
    whole, sides = whole_frames(seen.path, recording, modality)
    known = sides != (0, 0)
    clips = choose_frames(frames, rate, seconds, len(seen.x), each)
    stamps = [f"clip {k}: {stamp(index, rate)}" for k, row in enumerate(clips.tolist(), 1) for index in row]
    length = quantity(seconds, "s") if seconds and rate else "all of the film"
    shown = [stamp(index, rate) for _, index in whole]
    given = [np.rint(255 * frame).astype(np.uint8) for x in seen.x for frame in x.transpose(1, 2, 3, 0)]
    fitted = Fact("crop and resize", f"the middle, in the proportions of {width} x {height}, by averaging areas")
    return View(
        [
            Fact("frames", str(frames)),
            Fact("pixels", f"{sides[1]} x {sides[0]}" if known else "not known"),
            Fact("rate", quantity(rate, "frames/s") if rate else "not known"),
            Fact("duration", quantity(frames / rate, "s") if rate else "not known"),
        ],
        ranged(np.stack([picture for picture, _ in whole]), "grey levels"),
        [
            cropped(sides, height, width, "by averaging areas") if known else fitted,
            Fact("clips", f"{len(seen.x)} of {each} frames, {length} each"),
        ],
        [
            Plate(
                "Contact sheet",
                f"{len(whole)} of {frames} frames{'' if known else ', their middle'}, at {', '.join(shown)}",
                contact_sheet([picture for picture, _ in whole], shown, ACROSS, WIDTH),
            )
        ],
        [Plate("Clips", "a row each", contact_sheet(given, stamps, min(each, ACROSS), SMALL))],
        f"{quantity(seen.step * 255, 'grey levels of 255', 3)}, independently in each frame",
    )


def whole_frames(
    path: Path, recording: Recording, modality: Modality
) -> tuple[list[tuple[Array, int]], tuple[int, int]]:
    """Frames evenly spread over a film, uncropped, each with its position; and height and width of the film's frames.

    An excerpt holds crops alone. The film is therefore read once more, as by an encoder with the film's proportions.
    """
    if not isinstance(recording, Excerpt):
        chosen = np.unique(np.linspace(0, len(recording.values) - 1, SHEET).astype(int)).tolist()
        return [(recording.values[k], k) for k in chosen], cast(tuple[int, int], recording.values.shape[1:3])
    sides = film_sides(path)
    height = max(1, round(WIDTH * sides[0] / sides[1])) if all(sides) else WIDTH
    sheet = replace(modality, input=replace(modality.input, shape=(3, SHEET, min(height, 4 * WIDTH), WIDTH)))
    again = read_frame(path, sheet.with_settings({"clips": 1, "seconds": 0}))
    excerpt = again if isinstance(again, Excerpt) else recording
    return list(zip(excerpt.values, excerpt.indices.tolist(), strict=True)), sides


def film_sides(path: Path) -> tuple[int, int]:
    """Height and width of a film that its reader took, upright; 0 and 0 if its header does not tell."""
    try:
        with open_sensor_file(path, FILM_BYTES) as file:
            capture = cv2.VideoCapture(f"/proc/self/fd/{file.fileno()}", cv2.CAP_ANY)
            try:
                height, width = (capture.get(name) for name in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
            finally:
                capture.release()
    except InputError:
        return 0, 0
    return (int(height), int(width)) if height > 0 and width > 0 else (0, 0)


def stamp(index: int, rate: float) -> str:
    """Seconds of a frame, or its number."""
    return f"{index / rate:.2f} s" if rate else f"no. {index}"


def contact_sheet(frames: list[Array], stamps: list[str], across: int, width: int) -> Pixels:
    """Frames (h, w, 3) RGB in rows, each with its time stamp, as (h, w, 4) blue, green, red, alpha."""
    height = max(1, round(width * frames[0].shape[0] / frames[0].shape[1]))
    rows = -(-len(frames) // across)
    sheet = np.zeros((rows * (height + GAP) - GAP, across * (width + GAP) - GAP, 4), np.uint8)
    for k, (frame, text) in enumerate(zip(frames, stamps, strict=True)):
        how = cv2.INTER_NEAREST if frame.shape[1] < width else cv2.INTER_AREA
        small = np.asarray(cv2.resize(np.ascontiguousarray(frame[:, :, ::-1]), (width, height), interpolation=how))
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        cv2.rectangle(small, (0, 0), (wide + 8, high + 9), (0, 0, 0), cv2.FILLED)
        cv2.putText(small, text, (4, high + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        top, left = k // across * (height + GAP), k % across * (width + GAP)
        sheet[top : top + height, left : left + width] = np.dstack([small, np.full((height, width), 255, np.uint8)])
    return sheet
