"""Films that a recorder did not finish, that were cut, joined or damaged: read as far as they go, or named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from refusal import refused, taken_or_refused
from written_films import (
    BARE,
    FRAMES,
    SIZE,
    STEADY,
    STEADY_ONLY,
    THIRTIETH,
    TIMED,
    Kind,
    clips_of,
    greys,
    one_second,
    whole_film,
    write_film,
)

from advcal_edge.runtime.sensors import Recording, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.video import choose_frames
from advcal_edge.spec import video


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


def test_an_avi_shows_the_frame_before_those_that_its_camera_dropped(avi: Callable[..., Path]) -> None:
    """Frames 10 to 19 are chunks of no bytes, as capture programs write them to keep time."""
    path = avi()
    data = path.read_bytes()
    movie, index = data.find(b"movi"), data.find(b"idx1")
    body, entries, place = b"", b"", movie + 4
    for number in range(FRAMES):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        picture = b"" if 10 <= number < 20 else data[place + 8 : place + 8 + length]
        entries += b"00dc" + struct.pack("<3I", 16, 4 + len(body), len(picture))
        body += b"00dc" + struct.pack("<I", len(picture)) + picture + bytes(len(picture) % 2)
        place += 8 + length + length % 2
    assert place <= index
    data = data[: movie - 4] + struct.pack("<I", 4 + len(body)) + b"movi" + body
    data += b"idx1" + struct.pack("<I", len(entries)) + entries
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    expected = choose_frames(FRAMES, 30, 1, 3, 4)
    expected[(expected >= 10) & (expected < 20)] = 9
    assert np.array_equal(clips_of(path, one_second()), expected)


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
