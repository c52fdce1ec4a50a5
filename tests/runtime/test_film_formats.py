"""Films of many formats and of variable rate, written by PyAV: each clip shows what was on screen at its time."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.runtime.sensors import Recording, preprocess, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.timeline import lay_out
from advcal_edge.runtime.sensors.video import choose_frames
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
    with av.open(str(path), "w", format=kind.muxer, options=kind.options) as container:
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
    timeline = lay_out(stamps / 1000, 0.0, 2.0, "film", assume=False)
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


@pytest.fixture
def avi(tmp_path: Path) -> Callable[..., Path]:
    """An AVI of `FRAMES` frames at 30 Hz, whose header claims another number of them, or is unfinished."""

    def write(claimed: int = FRAMES, unfinished: bytes = b"", keep: float = 1.0) -> Path:
        path = tmp_path / "film.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (SIZE, SIZE))
        for grey in greys(FRAMES):
            writer.write(np.full((SIZE, SIZE, 3), grey, np.uint8))
        writer.release()
        data = bytearray(path.read_bytes())
        at = data.find(b"strh") + 40
        data[48:52] = data[at : at + 4] = struct.pack("<I", claimed)
        if unfinished:
            at = data.find(b"movi")
            data[4:8] = data[at - 4 : at] = unfinished
            del data[data.find(b"idx1") :]
        path.write_bytes(data[: int(keep * len(data))])
        return path

    return write


@pytest.mark.parametrize("claimed", [FRAMES - 1, FRAMES + 1, 3, 10])
def test_an_avi_that_miscounts_gives_all_its_frames(claimed: int, avi: Callable[..., Path]) -> None:
    assert np.array_equal(clips_of(avi(claimed), one_second()), choose_frames(FRAMES, 30, 1, 3, 4))
    ends = video(8, 2).with_settings({"seconds": 0.0, "clips": 1})
    assert clips_of(avi(claimed), ends).tolist() == [[0, FRAMES - 1]]


@pytest.mark.parametrize("unfinished", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_an_avi_of_a_killed_recorder_is_read_to_its_end(unfinished: bytes, avi: Callable[..., Path]) -> None:
    assert np.array_equal(clips_of(avi(0, unfinished), one_second()), choose_frames(FRAMES, 30, 1, 3, 4))
    cut = clips_of(avi(0, unfinished, 0.7), video(8, 2).with_settings({"seconds": 0.0, "clips": 1}))
    assert cut[0, 0] == 0
    assert 10 < cut[0, 1] < FRAMES - 1


@pytest.mark.parametrize("kind", [TIMED[2], TIMED[5], STEADY_ONLY[2]], ids=str)
def test_a_stream_of_a_killed_recorder_is_read_to_its_end(kind: Kind, tmp_path: Path) -> None:
    path = write_film(tmp_path, kind, STEADY)
    data = path.read_bytes()
    end = data.rfind(b"mdat") + 40 if kind is TIMED[2] else len(data) * 7 // 10
    path.write_bytes(data[:end])
    first, last = clips_of(path, whole_film())[0]
    assert first == 0
    assert 10 < last < FRAMES - 1


def test_an_mp4_without_its_index_is_named(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (SIZE, SIZE))
    for grey in greys(FRAMES):
        writer.write(np.full((SIZE, SIZE, 3), grey, np.uint8))
    writer.release()
    data = path.read_bytes()
    at = data.find(b"moov") - 4
    for cut in (data[:at], data[: at + 300]):
        path.write_bytes(cut)
        with refused(r"MP4 without its index \(`moov`\)") as refusal:
            read_frame(path, whole_film())
        assert "untrunc" in str(refusal.value.hint)


def whole_film() -> Modality:
    return video(8, 2).with_settings({"seconds": 0.0, "clips": 1})


def test_a_film_that_was_cut_by_its_edit_list_is_whole(tmp_path: Path) -> None:
    """`ffmpeg -ss 0.5 -c copy` keeps all frames from the key frame on, and shows those of half a second later."""
    path = write_film(tmp_path, TIMED[1], STEADY)
    data = bytearray(path.read_bytes())
    at, header = data.find(b"elst") + 8, data.find(b"mvhd") + 16
    per_second = int.from_bytes(data[header : header + 4], "big")
    track = data.find(b"mdhd", at) + 16
    media = int.from_bytes(data[track : track + 4], "big")
    duration, start = struct.unpack(">2I", data[at + 4 : at + 12])
    changed = (duration - per_second // 2, start + media // 2)
    data[at + 4 : at + 12] = struct.pack(">2I", *changed)
    path.write_bytes(data)
    assert clips_of(path, whole_film())[0].tolist() == [15, FRAMES - 1]


def test_a_film_with_longer_sound_is_whole(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mjpeg", rate=30)
        pictures.width = pictures.height = SIZE
        pictures.pix_fmt = "yuvj420p"
        samples = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 80000), np.int16), "s16", "mono")
        sound.sample_rate, sound.pts, sound.time_base = 8000, 0, Fraction(1, 8000)
        for index, grey in enumerate(greys(FRAMES)):
            frame = av.VideoFrame.from_ndarray(np.full((SIZE, SIZE, 3), grey, np.uint8), "rgb24")
            frame = frame.reformat(format="yuvj420p")
            frame.pts, frame.time_base = index, THIRTIETH
            container.mux(pictures.encode(frame))
        container.mux(samples.encode(sound))
        container.mux(pictures.encode(None) + samples.encode(None))
    assert clips_of(path, whole_film())[0].tolist() == [0, FRAMES - 1]


def test_films_joined_end_to_end_are_named(tmp_path: Path) -> None:
    path = write_film(tmp_path, STEADY_ONLY[2], STEADY)
    path.write_bytes(path.read_bytes() * 2)
    with refused("goes back in time: frame 40"):
        read_frame(path, one_second())
    assumed = read_frame(path, one_second(assume_units="yes"))
    assert isinstance(assumed, Recording)
    assert (assumed.rate, getattr(assumed, "frames", 0)) == (30, 2 * FRAMES)


def test_a_recorder_that_paused_is_named(tmp_path: Path) -> None:
    path = write_film(tmp_path, TIMED[3], np.r_[STEADY, STEADY + 9])
    with refused(r"pauses for 7\.7\d* s after frame 39, at 1\.300 s"):
        read_frame(path, one_second())
    assert clips_of(path, one_second(assume_units="yes")).shape == (3, 4)


@pytest.mark.parametrize(
    ("kind", "mark", "other", "found"),
    [
        (TIMED[1], b"avc1", b"braw", r"film\.mov` \(Blackmagic raw in MP4\) does not decode"),
        (TIMED[1], b"avc1", b"encv", r"\(encrypted film in MP4\)|lacks its key"),
        (TIMED[8], b"V_AV1", b"V_XY1", r"av1\.mkv` \(Matroska\) does not decode"),
    ],
)
def test_a_codec_that_does_not_decode_is_named(
    kind: Kind, mark: bytes, other: bytes, found: str, tmp_path: Path
) -> None:
    path = write_film(tmp_path, kind, STEADY)
    path.write_bytes(path.read_bytes().replace(mark, other))
    with refused(found) as refusal:
        read_frame(path, one_second())
    assert "ffmpeg -i" in str(refusal.value.hint)


def test_a_stack_of_pages_is_named(tmp_path: Path) -> None:
    assert cv2.imwritemulti(str(tmp_path / "stack.tif"), [np.full((20, 20, 3), grey, np.uint8) for grey in (1, 2)])
    with refused("is a TIFF file; expected a film") as refusal:
        read_frame(tmp_path / "stack.tif", one_second())
    assert "tifffile" in str(refusal.value.hint)


@settings(deadline=None, max_examples=25)
@given(
    kind=st.sampled_from([kind for kind in TIMED + STEADY_ONLY + BARE if "265" not in kind.name]),
    keep=st.floats(0.2, 1),
    damage=st.dictionaries(st.integers(0, 60_000), st.integers(0, 255), max_size=6),
)
def test_damaged_films_are_read_or_refused(
    kind: Kind, keep: float, damage: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    path = folder / kind.name
    if not (folder / f"whole-{kind}").exists():
        write_film(folder, kind, STEADY[:12]).rename(folder / f"whole-{kind}")
    data = bytearray((folder / f"whole-{kind}").read_bytes())
    for at, value in damage.items():
        data[at % len(data)] = value
    path.write_bytes(data[: int(keep * len(data))])
    modality = one_second(2, file_rate=30)
    with taken_or_refused():
        modality.input.check(preprocess_clips(modality, read_frame(path, modality)))
