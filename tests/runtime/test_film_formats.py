"""Films of many formats and of variable rate, written by PyAV: each clip shows what was on screen at its time."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused
from written_films import (
    BARE,
    FRAMES,
    MS,
    SIZE,
    STEADY,
    STEADY_ONLY,
    TIMED,
    VARIABLE,
    Kind,
    clips_of,
    frames_of,
    greys,
    one_second,
    write_film,
)

from advcal_edge.runtime.sensors import Recording, preprocess, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.timeline import lay_out
from advcal_edge.runtime.sensors.video import choose_frames
from advcal_edge.spec import video


def assert_on_screen(frames: NDArray[np.intp], times: NDArray[np.float64], stamps: NDArray[np.float64]) -> None:
    """Each frame is on screen at its time, give or take 12 ms: half of the shortest interval, and rounding."""
    ends = np.r_[stamps[1:], np.inf]
    assert (stamps[frames] <= times + 0.012).all(), (frames, times)
    assert (ends[frames] >= times - 0.012).all(), (frames, times)


@pytest.mark.parametrize("kind", TIMED, ids=str)
def test_clips_follow_the_time_stamps_of_a_variable_rate(kind: Kind, tmp_path: Path) -> None:
    path = write_film(tmp_path, kind, VARIABLE)
    found = clips_of(path, one_second())
    last = VARIABLE[-1] + 0.02  # the last frame has one step, of the shortest interval
    starts = np.linspace(0, last - 1, 3)[:, None]
    assert_on_screen(found, starts + np.linspace(0, 1 - 0.02, 4), VARIABLE)

    whole = clips_of(path, video(8, 6).with_settings({"seconds": 0.0, "clips": 1}))[0]
    assert_on_screen(whole, np.linspace(0, VARIABLE[-1], 6), VARIABLE)
    assert (whole[0], whole[-1]) == (0, FRAMES - 1)


@pytest.mark.parametrize("kind", TIMED[:-2] + STEADY_ONLY, ids=str)
def test_a_steady_film_gives_the_frames_of_its_array(kind: Kind, tmp_path: Path) -> None:
    path = write_film(tmp_path, kind, STEADY)
    frame = read_frame(path, one_second())
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(30, rel=2e-3)
    off = np.abs(frames_of(preprocess_clips(one_second(), frame)) - choose_frames(FRAMES, 30, 1, 3, 4)).max()
    assert off <= (kind.name == "film.mpg")  # its writer leaves out the time of one frame, to PyAV as well


def test_stamps_are_those_that_pyav_reads(tmp_path: Path) -> None:
    """OpenCV's stamps of a film, to a nanosecond: the reader of another library is not needed for them."""
    av = pytest.importorskip("av")
    for kind in TIMED:
        path = write_film(tmp_path, kind, VARIABLE)
        with av.open(str(path)) as container:
            expected = np.array([float(frame.pts * frame.time_base) for frame in container.decode(video=0)])
        capture, found = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
        while capture.grab():
            found.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        assert np.allclose(np.array(found) - found[0], expected - expected[0], rtol=0, atol=1e-9), kind


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0.008, 0.017, 0.033, 0.05, 0.1]), min_size=20, max_size=39))
def test_steps_are_those_of_the_fps_filter(between: list[float]) -> None:
    """`fps` of FFmpeg, rounding to the nearest step, is what resamples films everywhere else."""
    av = pytest.importorskip("av")
    stamps = np.rint(np.r_[0, np.cumsum(between)] * 1000).astype(int)
    timeline = lay_out(stamps / 1000, 0.0, 2.0, Path("film"), assume=False)
    rate = Fraction(timeline.rate).limit_denominator(1000)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format=av.VideoFormat("gray"), time_base=MS)
    steps = graph.add("fps", f"fps={rate.numerator}/{rate.denominator}:round=near:eof_action=pass")
    sink = graph.add("buffersink")
    source.link_to(steps)
    steps.link_to(sink)
    graph.configure()
    for index, stamp in enumerate(stamps):
        frame = av.VideoFrame.from_ndarray(np.full((16, 16), 5 * index, np.uint8), "gray")
        frame.pts, frame.time_base = int(stamp), MS
        graph.push(frame)
    graph.push(None)
    expected = []
    try:
        while True:
            expected.append(int(graph.pull().to_ndarray()[0, 0]) // 5)
    except (av.error.EOFError, av.error.BlockingIOError):
        pass
    shown = timeline.shown(np.arange(timeline.length))
    length = min(len(expected), len(shown) - 1)
    assert length >= len(shown) - 2
    differing = np.flatnonzero(shown[:length] != np.array(expected[:length]))
    places = stamps[np.maximum(shown[differing], np.array(expected)[differing])] * timeline.rate / 1000
    assert np.allclose(places % 1, 0.5, atol=0.02)  # alike but where a stamp is halfway between two steps


@pytest.mark.parametrize("kind", BARE, ids=str)
def test_bare_streams_need_a_rate(kind: Kind, tmp_path: Path) -> None:
    path = write_film(tmp_path, kind, STEADY)
    with refused(r"\(bare .* stream\) has frames without time") as refusal:
        read_frame(path, one_second())
    assert "--set input.file_rate=30" in str(refusal.value.hint)
    assert np.array_equal(clips_of(path, one_second(file_rate=30)), choose_frames(FRAMES, 30, 1, 3, 4))
    assert np.array_equal(clips_of(path, one_second(file_rate=60)), choose_frames(FRAMES, 60, 1, 3, 4))
    whole = video(8, 4).with_settings({"seconds": 0.0, "clips": 1})
    assert np.array_equal(clips_of(path, whole), choose_frames(FRAMES, 0, 0, 1, 4))


def test_an_array_of_frames_has_the_rate_that_is_declared(tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", np.broadcast_to(greys(FRAMES)[:, None, None, None], (FRAMES, 8, 8, 3)))
    assert np.array_equal(clips_of(tmp_path / "film.npy", one_second(file_rate=30)), choose_frames(FRAMES, 30, 1, 3, 4))


def test_a_web_camera_that_was_dumped_is_read(tmp_path: Path) -> None:
    parts = []
    for grey in greys(FRAMES):
        jpeg = cv2.imencode(".jpg", np.full((SIZE, SIZE, 3), grey, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg + b"\r\n")
    (tmp_path / "camera.mjpeg").write_bytes(b"".join(parts))
    assert np.array_equal(
        clips_of(tmp_path / "camera.mjpeg", one_second(file_rate=30)), choose_frames(FRAMES, 30, 1, 3, 4)
    )


def animate(path: Path, milliseconds: list[int]) -> None:
    animation = cv2.Animation()
    pictures = np.random.default_rng(0).integers(0, 256, (len(milliseconds), 24, 24, 3), dtype=np.uint8)
    for picture, grey in zip(pictures, greys(len(milliseconds)), strict=True):
        picture[4:-4, 4:-4] = grey
    animation.frames, animation.durations = list(pictures), milliseconds
    assert cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 101])


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_animations_are_films(suffix: str, tmp_path: Path) -> None:
    milliseconds = [100, 50, 300, 200, 50, 100, 50, 400, 100]
    path = tmp_path / f"film.{suffix}"
    animate(path, milliseconds)
    stamps = np.r_[0, np.cumsum(milliseconds)[:-1]] / 1000
    modality = video(12, 5).with_settings({"seconds": 0.0, "clips": 1})
    x = preprocess_clips(modality, read_frame(path, modality))
    assert_on_screen(frames_of(x, len(stamps))[0], np.linspace(0, stamps[-1], 5), stamps)

    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with refused("truncated or corrupt"):
        read_frame(path, modality)


def test_a_film_that_was_turned_is_turned_back(tmp_path: Path) -> None:
    """A phone writes how it was held: the matrix of `tkhd` (ISO/IEC 14496-12, 8.3.2)."""
    frames = np.zeros((10, 32, 48, 3), np.uint8)
    frames[:, :, :16] = 250
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 32))
    for frame in frames:
        writer.write(frame)
    writer.release()
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "film.mp4").write_bytes(data)
    x = preprocess(video(16, 2), [read_frame(tmp_path / "film.mp4", video(16, 2))])[0, 0, 0]
    assert x[:3].min() > 0.9  # the bright side is on top after a quarter turn
    assert x[-8:].max() < 0.1
