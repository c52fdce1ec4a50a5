"""Films as contact sheets with time stamps."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from advcal_edge.look.facts import quantity, ranged
from advcal_edge.look.plate import Pixels, Plate
from advcal_edge.look.sight import Fact, Seen, View
from advcal_edge.runtime.sensors.frame import Array, Recording
from advcal_edge.runtime.sensors.video import Excerpt, choose_frames

SHEET = 12  # pictures of a contact sheet
ACROSS = 4
FRAME_WIDTH = 200  # pixels


def view(seen: Seen) -> View:
    """The view of a film."""
    recording, modality = cast(Recording, seen.frame), seen.modality
    excerpt = recording if isinstance(recording, Excerpt) else None
    frames = excerpt.frames if excerpt else len(recording.values)
    _, each, height, width = modality.input.shape
    rate, seconds = recording.rate, modality.number("seconds")
    places = choose_frames(frames, rate, seconds, len(seen.x), each)
    read = [
        Fact("frames", str(frames)),
        Fact("rate", quantity(rate, "frames/s") if rate else "not known"),
        Fact("duration", quantity(frames / rate, "s") if rate else "not known"),
    ]
    indices = excerpt.indices if excerpt else np.arange(frames)
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(SHEET, len(indices))).round().astype(int))
    stamps = [stamp(int(indices[k]), rate) for k in chosen]
    sheet = contact_sheet([recording.values[k] for k in chosen], stamps)
    what = "those frames that the clips need, as the encoder's crop" if excerpt else "frames, evenly spread"
    clips = [
        Plate(
            f"Clip {k}" if len(seen.x) > 1 else "x",
            "frames " + ", ".join(stamp(int(index), rate) for index in places[k - 1]),
            contact_sheet([np.rint(255 * frame).astype(np.uint8) for frame in x.transpose(1, 2, 3, 0)], [""] * each),
        )
        for k, x in enumerate(seen.x, 1)
    ]
    return View(
        read,
        ranged(recording.values, "grey levels"),
        [
            Fact(
                "clips",
                f"{len(seen.x)} of {each} frames" + (f" over {seconds:g} s" if seconds and rate else ", over all"),
            ),
            Fact("crop and resize", f"the middle, in the proportions of {width} x {height}, by averaging areas"),
        ],
        [Plate("Contact sheet", f"{len(chosen)} of {frames}: {what}; seconds at the top left", sheet)],
        clips,
        f"{quantity(seen.step * 255, 'grey levels of 255', 3)}, independently in each frame",
    )


def stamp(index: int, rate: float) -> str:
    """Seconds of a frame, or its number."""
    return f"{index / rate:.2f} s" if rate else f"no. {index}"


def contact_sheet(frames: list[Array], stamps: list[str]) -> Pixels:
    """Frames (h, w, 3) RGB in rows, each with its time stamp."""
    height = max(1, round(FRAME_WIDTH * frames[0].shape[0] / frames[0].shape[1]))
    drawn: list[Pixels] = []
    for frame, text in zip(frames, stamps, strict=True):
        enlarged = frame.shape[1] < FRAME_WIDTH
        how = cv2.INTER_NEAREST if enlarged else cv2.INTER_AREA
        small = np.asarray(
            cv2.resize(np.ascontiguousarray(frame[:, :, ::-1]), (FRAME_WIDTH, height), interpolation=how)
        )
        if text:
            (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
            cv2.rectangle(small, (0, 0), (wide + 8, high + 9), (0, 0, 0), cv2.FILLED)
            cv2.putText(small, text, (4, high + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        drawn.append(small.astype(np.uint8))
    rows = [drawn[k : k + ACROSS] for k in range(0, len(drawn), ACROSS)]
    across = min(ACROSS, len(drawn))
    padded = [row + [np.zeros_like(drawn[0])] * (across - len(row)) for row in rows]
    return np.vstack([np.hstack(row) for row in padded])
