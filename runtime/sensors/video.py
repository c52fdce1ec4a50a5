"""Video to clips: a few frames each, evenly spread over some seconds.

Pixel intensity in [0, 1], eight bits per channel; eps 4/255 is four steps of a pixel, independently in each frame.
Positions of clips and frames follow ImageBind's loader: pytorchvideo's constant clips, with frames sampled uniformly
from the first to the last; a `seconds` of 0 makes the whole recording one clip, as in LanguageBind. Time is that of the
stamps in the film, not that of the rate it claims: of a variable rate, the frames that are on screen at equal steps are
taken (`timeline`). Differences: frames are cropped only at their centre, while ImageBind averages three crops from side
to side, and resized in uint8 by averaging areas, so that clean samples are on the grid of the camera, while theirs are
bilinear floats. At rates like 29.97 Hz a clip has the whole number of frames nearest to `seconds`; theirs alternates
between one more and one less. A recording shorter than its clips repeats its only clip. An array without a rate is one
clip of any duration; a bare stream of a codec, whose frames have no time, needs `file_rate`, unless the clip is the
whole recording.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.files.film import Claims, measure_film, scan_film
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.sensor_file import NPY, read_magic
from advcal_edge.runtime.sensors.frame import NOTHING, Array, Frame, Recording, describe, fit
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.timeline import FASTEST, Timeline, lay_out
from advcal_edge.spec import Modality

EXPECTED = "uint8 RGB (t, h, w, 3) of at least two frames, or a recording of them"


@dataclass(frozen=True, slots=True, eq=False)
class Excerpt(Recording):
    """The frames of a film that its clips need, at the encoder's size; a whole film would not fit into memory."""

    indices: NDArray[np.intp]
    """Their positions in the film, in steps of its rate."""

    frames: int
    """Length of the film in steps; at a steady rate the number of its frames."""


def check_video(frame: object, where: str) -> Recording:
    """Return `frame` as a recording, of rate 0 if it has none.

    Raises:
        InputError: not frames, of another shape or dtype, fewer than two, or with a broken rate.
    """
    if isinstance(frame, (list, tuple)):
        frame = _stack(frame, where)
    recording = frame if isinstance(frame, Recording) else None
    values = frame if recording is None else recording.values
    if not isinstance(values, np.ndarray) or values.ndim != 4 or values.shape[3] != 3 or values.dtype != np.uint8:
        hint = "give the camera's frames one after the other, RGB with eight bits a channel: `numpy.stack(frames)`"
        if isinstance(values, np.ndarray) and values.ndim == 4 and 3 in values.shape[:2]:
            hint = "channels come last: (t, h, w, 3)"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    length = recording.frames if isinstance(recording, Excerpt) else len(values)
    if values.size == 0 or length < 2:
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint="one frame is an image")
    limits.FILM_PIXELS.check(values.shape[1] * values.shape[2], f"{where}, {describe(frame)},", InputError)
    if recording is None:
        return Recording(values, 0.0)
    if not 0 <= recording.rate < np.inf:
        raise InputError(
            f"{where} is {describe(frame)}; expected a number of frames a second",
            hint="`Recording(frames, 30)`, or 0 for one clip of all frames",
        )
    return recording


def choose_frames(frames: int, rate: float, seconds: float, clips: int, each: int) -> NDArray[np.intp]:
    """Indices (clips, each) of the frames of all clips, out of `frames` at `rate` hertz.

    `seconds` or `rate` of 0 make one clip of all frames. Starts spread from the first frame to the last that leaves a
    whole clip; a single clip is in the middle.
    """
    length = frames if seconds == 0 or rate == 0 else min(frames, max(1, round(seconds * rate)))
    room = frames - length
    starts = [room // 2] if clips == 1 else [-(-room * clip // (clips - 1)) for clip in range(clips)]
    within = np.linspace(0, length - 1, each).astype(np.intp)
    return np.array(starts, np.intp)[:, None] + within


def _stack(frames: list[object] | tuple[object, ...], where: str) -> Array:
    shapes = {frame.shape if isinstance(frame, np.ndarray) else type(frame).__name__ for frame in frames}
    if len(shapes) != 1 or not isinstance(frames[0], np.ndarray):
        raise InputError(
            f"{where} is a list of {len(frames)} of {len(shapes)} shapes; expected frames of one size",
            hint="a recording is one array of its frames, or a list of arrays of one size" if frames else NOTHING,
        )
    return np.stack(cast(list[Array], frames))


def _settings(modality: Modality) -> tuple[float, int]:
    seconds, clips = modality.number("seconds"), modality.number("clips")
    if not 0 <= seconds <= 86400:
        raise ConfigError(f"`input.seconds` is {seconds:g}; expected a length, or 0 for the whole recording")
    if not 1 <= clips <= 100:
        raise ConfigError(f"`input.clips` is {clips:g}; expected 1 to 100")
    return seconds, round(clips)


def _file_rate(modality: Modality) -> float:
    rate = modality.number("file_rate", 0.0)
    if not 0 <= rate <= FASTEST:
        raise ConfigError(
            f"`input.file_rate` is {rate:g}; expected frames a second, or 0 if all films have time stamps"
        )
    return rate


def _lay_out(path: Path, modality: Modality, claims: Claims, times: NDArray[np.float64]) -> Timeline:
    """The frames of a film by their stamps; those of a film without stamps by the rate that is declared or claimed."""
    seconds, _ = _settings(modality)
    if not np.isnan(times).any():
        return lay_out(times, claims.rate, seconds, path, assume=modality.assumes_units)
    rate = _file_rate(modality) or (claims.rate if claims.kind.has_stamps else 0.0)
    if seconds and not 0 < rate <= FASTEST:
        raise InputError(
            f"`{path}` ({claims.kind.name}) has frames without time; expected time stamps, or a rate",
            hint="say its rate: `--set input.file_rate=30`, at calibration; or `--set input.seconds=0` for one clip of"
            " the whole film",
        )
    return Timeline.steady(len(times), rate if rate <= FASTEST else 0.0)


class _Video:
    """Implements `Sensor`."""

    frame_axes = 4

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        path = Path(path)
        rate = _file_rate(modality)
        if read_magic(path, limits.FILM_BYTES).startswith(NPY):
            values = decode_file(path)
            return Recording(values, rate) if rate else values
        _, each, height, width = modality.input.shape
        seconds, clips = _settings(modality)
        claims = measure_film(path)

        def choose(timeline: Timeline) -> NDArray[np.intp]:
            chosen = [choose_frames(timeline.length, timeline.rate, seconds, count, each) for count in (1, clips)]
            return np.unique(np.concatenate([steps.ravel() for steps in chosen]))

        def scan(wanted: NDArray[np.intp]) -> tuple[dict[int, Array], NDArray[np.float64]]:
            return scan_film(path, claims, wanted.tolist(), lambda frame: fit(frame, height, width))

        guess = Timeline.steady(claims.frames, claims.rate)  # most films are as they claim: then one pass is enough
        kept, times = scan(guess.shown(choose(guess)) if claims.frames > 1 else np.empty(0, np.intp))
        if len(times) < 2:
            raise InputError(f"`{path}` has {len(times)} frames; expected two or more", hint="one frame is an image")
        timeline = _lay_out(path, modality, claims, times)
        steps = choose(timeline)
        shown = timeline.shown(steps)
        missing = shown[~np.isin(shown, list(kept))]
        if missing.size:
            kept |= scan(missing)[0]
        values = np.stack([kept[index] for index in shown.tolist()])
        return Excerpt(values, timeline.rate, steps, timeline.length)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_video(frame, where)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        _, each, height, width = modality.input.shape
        recording = cast(Recording, frame)
        frames = recording.frames if isinstance(recording, Excerpt) else len(recording.values)
        seconds, _ = _settings(modality)
        chosen = choose_frames(frames, recording.rate, seconds, clips, each)
        if isinstance(recording, Excerpt):
            apart = np.abs(recording.indices - chosen[..., None])
            chosen = apart.argmin(axis=-1)  # all are present, unless the film ended early or was read for other clips
        batch = np.empty((clips, each, height, width, 3), np.uint8)
        for place in np.ndindex(clips, each):
            batch[place] = fit(recording.values[chosen[place]], height, width)
        return snap(batch.transpose(0, 4, 1, 2, 3) / np.float32(255), modality)


VIDEO = _Video()
