"""Films become clips on the 8-bit grid, frame by frame where they should be; what is no film is refused in words."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import Recording, preprocess, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.video import choose_frames
from advcal_edge.spec import Modality, video

GOLDEN = Path(__file__).parent / "golden"
STREAMS = [(".mpg", "mpg1"), (".ts", "mp4v")]
CODECS = [(".mp4", "mp4v"), (".avi", "MJPG"), (".avi", "FFV1"), (".mkv", "VP80"), (".webm", "VP80")]


def film(frames: int = 24, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """A red square that crosses blue noise from left to right, a few pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 2] = cv2.GaussianBlur(noise, (0, 0), 3)
    for index in range(frames):
        left = index * (width - 8) // max(frames - 1, 1)
        clip[index, 8:16, left : left + 8] = (250, 20, 20)
    return clip


def counter(frames: int, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    """Frames whose grey says how far they are: the index itself survives any codec that keeps a flat grey."""
    greys = np.linspace(20, 235, frames).astype(np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (frames, height, width, 3)).copy()


def write_film(path: Path, frames: NDArray[np.uint8], codec: str = "FFV1", rate: float = 10) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, frames.shape[2:0:-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path.read_bytes()


def clips_of(modality: Modality, path: Path) -> NDArray[np.float32]:
    return preprocess_clips(modality, read_frame(path, modality))


def upstream_indices(frames: int, rate: int, seconds: int, clips: int, each: int) -> list[list[int]]:
    """Constant clips and a uniform subsample as pytorchvideo documents them, in exact fractions of a second."""
    room = max(Fraction(frames, rate) - seconds, Fraction(0))
    chosen = []
    for clip in range(clips):
        start = room * clip / max(clips - 1, 1)
        window = range(math.ceil(start * rate), min(math.ceil((start + seconds) * rate), frames))
        chosen.append([window[(len(window) - 1) * step // max(each - 1, 1)] for step in range(each)])
    return chosen


def test_golden_file() -> None:
    """`video.avi` is `film()` in FFV1, lossless but for its chroma; `video.npz` the clips it gave on x86-64.

    Other decoders and resizers may round two levels off.
    """
    modality = video(16, 2).with_settings({"seconds": 1.0, "clips": 3})
    with np.load(GOLDEN / "video.npz") as golden:
        expected = golden["x"].astype(int)
    assert np.abs(np.rint(clips_of(modality, GOLDEN / "video.avi") * 255) - expected).max() <= 2


@settings(deadline=None, max_examples=60)
@given(data=st.data(), size=st.sampled_from([1, 7, 32]), each=st.integers(1, 5), clips=st.integers(1, 6))
def test_any_recording_becomes_legal_clips_on_the_grid(data: st.DataObject, size: int, each: int, clips: int) -> None:
    shape = (data.draw(st.integers(2, 12)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), 3)
    values = data.draw(hnp.arrays("uint8", shape))
    frame = data.draw(st.sampled_from([values, list(values), Recording(values, 4.0), Recording(values, 0.0)]))
    modality = video(size, each).with_settings({"clips": clips, "seconds": data.draw(st.floats(0, 5))})
    x = preprocess_clips(modality, frame)
    assert x.shape == (clips, 3, each, size, size)
    modality.input.check(x)
    assert np.array_equal(x, np.rint(x * 255) / np.float32(255))


@given(
    frames=st.integers(2, 2000),
    rate=st.sampled_from([1, 10, 24, 25, 30, 60]),
    seconds=st.integers(1, 8),
    clips=st.integers(2, 10),
    each=st.integers(2, 3),
)
def test_frames_fall_where_imagebind_takes_them(frames: int, rate: int, seconds: int, clips: int, each: int) -> None:
    assert choose_frames(frames, rate, seconds, clips, each).tolist() == upstream_indices(
        frames, rate, seconds, clips, each
    )


@given(frames=st.integers(2, 5000), each=st.integers(1, 16))
def test_a_clip_of_the_whole_recording_takes_the_frames_of_languagebind(frames: int, each: int) -> None:
    expected = np.linspace(0, frames - 1, each, dtype=int)
    assert np.array_equal(choose_frames(frames, 30.0, 0, 1, each), expected[None])


def test_one_clip_is_the_middle_one() -> None:
    recording = Recording(counter(100), 10.0)
    modality = video(4, 2)
    every = preprocess_clips(modality, recording)
    assert np.array_equal(preprocess(modality, [recording])[0], every[2])
    assert not np.array_equal(every[1], every[2])


@pytest.mark.parametrize(("suffix", "codec"), CODECS + STREAMS)
def test_films_of_every_format_agree_with_their_frames(suffix: str, codec: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{suffix}"
    write_film(path, counter(30), codec, 25)
    modality = video(8, 2).with_settings({"seconds": 0.4})
    recording = Recording(counter(30), 25.0)
    for x, expected in (
        (clips_of(modality, path), preprocess_clips(modality, recording)),
        (preprocess(modality, [read_frame(path, modality)]), preprocess(modality, [recording])),
    ):
        assert np.abs(x - expected).max() < 5.5 / 255  # neighbouring frames lie 7.4 levels apart


def test_colours_are_rgb_and_the_centre_is_kept(tmp_path: Path) -> None:
    frames = np.zeros((20, 32, 96, 3), np.uint8)
    frames[:, :, 32:64] = (250, 10, 10)
    write_film(tmp_path / "film.avi", frames)
    red, green, blue = clips_of(video(32, 2), tmp_path / "film.avi")[0, :, 0]
    assert red[:, 2:-2].min() > 0.9
    assert max(green[:, 2:-2].max(), blue[:, 2:-2].max()) < 0.1


def test_a_long_film_keeps_only_the_frames_of_its_clips(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", film(300, 240, 320), "mp4v", 30)
    frame = read_frame(tmp_path / "film.mp4", video(32, 2))
    assert isinstance(frame, Recording)
    assert frame.values.shape == (10, 32, 32, 3)  # five clips of two frames; the third is the middle one
    assert np.array_equal(preprocess(video(32, 2), [frame])[0], preprocess_clips(video(32, 2), frame)[2])

    even, single = (video(32, 2).with_settings({"clips": clips}) for clips in (4, 1))
    frame = read_frame(tmp_path / "film.mp4", even)
    assert np.array_equal(preprocess(even, [frame]), clips_of(single, tmp_path / "film.mp4"))


def test_a_film_shorter_than_a_clip_repeats_it(tmp_path: Path) -> None:
    write_film(tmp_path / "film.avi", film(6))
    x = clips_of(video(16, 2), tmp_path / "film.avi")
    assert all(np.array_equal(x[0], clip) for clip in x[1:])
    assert not np.array_equal(x[0, :, 0], x[0, :, 1])


def test_arrays_of_frames_are_one_clip(tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", film(100))
    x = preprocess(video(16, 2), [read_frame(tmp_path / "film.npy", video(16, 2))])
    assert np.array_equal(x, preprocess(video(16, 2), [film(100)[[0, 99]]]))


@pytest.mark.parametrize(("suffix", "codec"), CODECS)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_truncated_films_are_refused(suffix: str, codec: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    data = write_film(path, film(40), codec)
    path.write_bytes(data[: int(keep * len(data))])
    with refused(r"cut\.\w+` .*truncated or corrupt"):
        read_frame(path, video(8, 2))


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (film(1), r"uint8 \(1, 24, 32, 3\); expected .* at least two frames"),
        (film(2)[:0], r"\(0, 24, 32, 3\)"),
        (film(4)[..., :2], r"\(4, 24, 32, 2\)"),
        (film(4)[..., 0], r"\(4, 24, 32\)"),
        (film(4).transpose(0, 3, 1, 2), r"\(4, 3, 24, 32\)"),
        (film(4) / 255, "float64"),
        (film(4).astype(np.uint16), "uint16"),
    ],
)
def test_what_is_no_recording_is_refused(frame: NDArray[Any], found: str, tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", frame)
    with refused(found) as refusal:
        read_frame(tmp_path / "film.npy", video(8, 2))
    assert "film.npy` " in refusal.value.message


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (Recording(film(), -1.0), "at -1 Hz"),
        (Recording(film(), math.nan), "at nan Hz"),
        ([], "list of 0"),
        ([film()[0], film()[0, :4]], "list of 2 of 2 shapes"),
        ("film.mp4", "str"),
    ],
)
def test_a_broken_recording_names_its_index(frame: Any, found: str) -> None:
    with refused(f"frame 1 is .*{found}"):
        preprocess(video(8, 2), [film(), frame])


def test_a_film_of_one_frame_is_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "film.avi", film(1))
    with refused("1 frames; expected two"):
        read_frame(tmp_path / "film.avi", video(8, 2))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "none of the formats mp4"),
        (b"ffconcat version 1.0\nfile film.avi\n", "none of the formats mp4"),
        (b"\0\0\0\x18ftypisom" + bytes(200), "truncated or corrupt"),
    ],
)
def test_files_that_are_no_film_never_reach_the_decoder(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with refused(found):
        read_frame(tmp_path / "film.mp4", video(8, 2))


def test_missing_films_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with refused("cannot read|is a folder"):
            read_frame(path, video(8, 2))


@pytest.mark.parametrize(("name", "value"), [("seconds", -1), ("clips", 0), ("clips", 1e9)])
def test_impossible_clips_are_a_mistake_in_the_settings(name: str, value: float, tmp_path: Path) -> None:
    write_film(tmp_path / "film.avi", film())
    with pytest.raises(ConfigError, match=name):
        clips_of(video(8, 2).with_settings({name: value}), tmp_path / "film.avi")


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(CODECS),
    damage=st.dictionaries(st.integers(0, 20_000), st.integers(0, 255), max_size=12),
)
def test_damaged_films_are_read_or_refused(
    kind: tuple[str, str], damage: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{kind[0]}"
    data = bytearray(write_film(path, film(12), kind[1]))
    for at, value in damage.items():
        data[at % len(data)] = value
    path.write_bytes(data)
    with taken_or_refused():
        clips_of(video(8, 2), path)


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "FFV1"), (".ts", "mp4v")])
@pytest.mark.parametrize(("limit", "most"), [("FILM_PIXELS", 767), ("FILM_FRAMES", 23), ("FILM_BYTES", 999)])
def test_films_are_bounded(
    limit: str, most: int, suffix: str, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film(tmp_path / f"film{suffix}", film(), codec, 25)
    monkeypatch.setenv(f"ADVCAL_MAX_{limit}", str(most))
    with refused(f"expected at most {most}") as refusal:
        read_frame(tmp_path / f"film{suffix}", video(8, 2))
    assert f"ADVCAL_MAX_{limit}=" in str(refusal.value.hint)


def test_a_name_that_is_a_pattern_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "film%03d.avi"
    write_film(tmp_path / "film.avi", film())
    (tmp_path / "film.avi").rename(path)
    assert clips_of(video(8, 2), path).shape == (5, 3, 2, 8, 8)
