"""Films that PyAV writes, whose grey says which frame it is; what a sensor made of them, as numbers of frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from advcal_edge.runtime.sensors import preprocess_clips, read_frame
from advcal_edge.spec import Modality, video

FRAMES = 40
STEADY = np.arange(FRAMES) / 30
BETWEEN = np.random.default_rng(0).choice([0.02, 0.05, 0.1, 0.3], FRAMES - 1)
VARIABLE = np.r_[0, np.cumsum(BETWEEN)]
SIZE = 32


@dataclass(frozen=True)
class Kind:
    """How PyAV writes a kind of film."""

    name: str
    codec: str
    base: Fraction
    muxer: str | None = None
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    codec_options: dict[str, str] = field(default_factory=dict)
    rate: int = 30
    """What it claims."""

    def __str__(self) -> str:
        return f"{self.name}-{self.codec}"


MS, THIRTIETH, MPEG = Fraction(1, 1000), Fraction(1, 30), Fraction(1, 90000)
FINE = {"crf": "5", "preset": "10"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
TIMED = [
    Kind("film.mp4", "mpeg4", MS, codec_options={"qscale": "1", "flags": "qscale"}),
    Kind("film.mov", "libx264", MPEG),
    Kind("fragments.mp4", "libx264", MS, options=FRAGMENTS, codec_options={"g": "8"}),
    Kind("film.mkv", "libx264", MS),
    Kind("film.webm", "libvpx", MS),
    Kind("live.webm", "libvpx", MS, options={"live": "1"}),
    Kind("browser.webm", "libvpx", MS, rate=1000),
    Kind("vp9.webm", "libvpx-vp9", MS),
    Kind("av1.mkv", "libsvtav1", MS, codec_options=FINE),
    Kind("av1.mp4", "libsvtav1", MS, codec_options=FINE),
    Kind("film.gif", "gif", Fraction(1, 100), pixels="gray"),
    Kind("film.apng", "apng", MS, muxer="apng", pixels="rgb24"),
]
STEADY_ONLY = [
    Kind("film.avi", "mjpeg", THIRTIETH, pixels="yuvj420p"),
    Kind("reordered.avi", "libx264", THIRTIETH),
    Kind("film.ts", "libx264", MPEG),
    Kind("film.m2ts", "libx264", MPEG, muxer="mpegts", options={"mpegts_m2ts_mode": "1"}),
    Kind("film.mpg", "mpeg2video", THIRTIETH),
    Kind("film.m2v", "mpeg2video", THIRTIETH, muxer="mpeg2video"),
    Kind("film.flv", "flv", MS),
    Kind("film.wmv", "wmv2", MS, muxer="asf"),
    Kind("film.ivf", "libvpx", THIRTIETH),
    Kind("film.y4m", "wrapped_avframe", THIRTIETH, muxer="yuv4mpegpipe"),
]
BARE = [
    Kind("film.h264", "libx264", THIRTIETH, muxer="h264"),
    Kind("film.h265", "libx265", THIRTIETH, muxer="hevc", codec_options={"x265-params": "log-level=none"}),
    Kind("film.mjpeg", "mjpeg", THIRTIETH, muxer="mjpeg", pixels="yuvj420p"),
    Kind("film.obu", "libsvtav1", THIRTIETH, muxer="obu", codec_options=FINE),
]


def write_film(folder: Path, kind: Kind, stamps: NDArray[np.float64]) -> Path:
    """A film whose grey says which frame it is."""
    av = pytest.importorskip("av", reason="PyAV writes these films: pip install 'advcal-edge[test]'")
    av.logging.set_level(None)
    os.environ.setdefault("SVT_LOG", "0")
    path = folder / kind.name
    with usual_priority(), av.open(str(path), "w", format=kind.muxer, options=kind.options) as container:
        stream = container.add_stream(kind.codec, rate=kind.rate, options=kind.codec_options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = kind.pixels
        stream.time_base = stream.codec_context.time_base = kind.base
        if not kind.codec_options.keys() & {"crf", "qscale"}:
            stream.bit_rate = 2_000_000
        for grey, stamp in zip(greys(len(stamps)), stamps, strict=True):
            picture = np.full((SIZE, SIZE, 3), grey, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=kind.pixels)
            frame.pts, frame.time_base = round(stamp / kind.base), kind.base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextmanager
def usual_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does if it may: it makes its threads and the caller's real-time ones, and all others starve."""
    yield
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def greys(frames: int) -> NDArray[np.uint8]:
    return np.linspace(20, 235, frames).astype(np.uint8)


def frames_of(x: NDArray[np.float32], frames: int = FRAMES) -> NDArray[np.intp]:
    """Which frame each of x (clips, 3, t, h, w) is, by its grey."""
    middle = x[:, :, :, x.shape[3] // 2, x.shape[4] // 2].mean(axis=1) * 255
    return np.abs(middle[..., None] - greys(frames).astype(float)).argmin(axis=-1)


def clips_of(path: Path, modality: Modality) -> NDArray[np.intp]:
    return frames_of(preprocess_clips(modality, read_frame(path, modality)))


def one_second(each: int = 4, **settings: Any) -> Modality:
    return video(8, each).with_settings({"seconds": 1.0, "clips": 3, **settings})


def whole_film() -> Modality:
    return video(8, 2).with_settings({"seconds": 0.0, "clips": 1})
