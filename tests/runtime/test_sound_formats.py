"""Sound of many formats equals what other readers find; a header that claims too little or too much is noticed."""

from __future__ import annotations

import io
import struct
import warnings
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io.wavfile
import soundfile
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Recording, preprocess, read_frame
from advcal_edge.runtime.sensors.files.sound_file import read_sound
from advcal_edge.runtime.sensors.files.sound_stream import flac_md5, flac_samples
from advcal_edge.spec import audio

SMALL = audio(16, 20)
RATE = 16000
LENGTH = 8000
INTEGERS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"),
            ("W64", "PCM_24"), ("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "PCM_16"), ("AU", "PCM_24"),
            ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")]  # fmt: skip
COARSE = [("WAV", "PCM_U8", 1 / 128), ("AIFF", "PCM_U8", 1 / 128), ("FLAC", "PCM_S8", 1 / 128), ("WAV", "FLOAT", 1e-7),
          ("WAV", "DOUBLE", 1e-7), ("AIFF", "FLOAT", 1e-7), ("WAV", "ALAW", 1 / 64), ("WAV", "ULAW", 1 / 64),
          ("AU", "ULAW", 1 / 64), ("WAV", "IMA_ADPCM", 0.4), ("WAV", "MS_ADPCM", 0.4)]  # fmt: skip
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
FORMATS = [*INTEGERS, *(one[:2] for one in COARSE), *LOSSY]


def sound(length: int = LENGTH, channels: int = 2) -> NDArray[np.float64]:
    """Low-passed noise (t, c) within full scale: codecs keep it, and it has no period that hides a delay."""
    noise = np.random.default_rng(0).normal(size=(length + 31, channels))
    smooth = np.stack([np.convolve(one, np.hanning(33)[1:-1] / 16, "valid") for one in noise.T], axis=1)[:length]
    return np.asarray(smooth[:length] * 0.5 / np.abs(smooth).max())


def encoded(kind: str, subtype: str, values: NDArray[Any] | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound() if values is None else values, rate, format=kind, subtype=subtype)
    return file.getvalue()


def read(data: bytes, folder: Path) -> Recording:
    path = folder / "a.sound"
    path.write_bytes(data)
    frame = read_frame(path, SMALL)
    assert isinstance(frame, Recording)
    return frame


@pytest.mark.parametrize(("kind", "subtype"), INTEGERS)
def test_integers_are_exact(kind: str, subtype: str, tmp_path: Path) -> None:
    frame = read(encoded(kind, subtype), tmp_path)
    bits = int(subtype[-2:])
    assert (frame.rate, frame.values.shape) == (RATE, (2, LENGTH))
    counts = np.rint(frame.values.T.astype(np.float64) * 2.0 ** (bits - 1))
    near = 1.01 if bits < 32 else 257  # float32 has 24 bits
    assert np.abs(counts - sound() * 2.0 ** (bits - 1)).max() <= near


@pytest.mark.parametrize(("kind", "subtype", "near"), COARSE)
def test_coarse_and_packed_samples_are_near(kind: str, subtype: str, near: float, tmp_path: Path) -> None:
    frame = read(encoded(kind, subtype), tmp_path)
    assert frame.rate == RATE
    assert 0 <= frame.values.shape[1] - LENGTH < 1024 * ("ADPCM" in subtype) + 1  # whole blocks, filled with silence
    assert np.abs(frame.values.T[:LENGTH] - sound()).max() <= near


@pytest.mark.parametrize(("kind", "subtype"), LOSSY)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_lossy_sound_has_its_length_and_no_delay(kind: str, subtype: str, rate: int, tmp_path: Path) -> None:
    frame = read(encoded(kind, subtype, rate=rate), tmp_path)
    assert (frame.rate, frame.values.shape) == (rate, (2, LENGTH))
    inner = sound()[1000:-1000, 0]
    lags = [float(inner @ frame.values[0, 1000 + lag : LENGTH - 1000 + lag]) for lag in range(-200, 201)]
    assert abs(int(np.argmax(lags)) - 200) <= 1


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_of_the_standard_library(width: int, tmp_path: Path) -> None:
    """`wave` is of another author; its bytes are unsigned, and all wider samples signed, little-endian."""
    counts = np.random.default_rng(width).integers(-(2 ** (8 * width - 1)), 2 ** (8 * width - 1), (LENGTH, 2))
    raw = (counts + (128 if width == 1 else 0)).astype("<i8").view(np.uint8).reshape(LENGTH, 2, 8)[..., :width]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(22050)
        file.writeframes(raw.tobytes())
    frame = read_frame(tmp_path / "a.wav", SMALL)
    assert isinstance(frame, Recording)
    assert frame.rate == 22050
    np.testing.assert_array_equal(frame.values, (counts / 2.0 ** (8 * width - 1)).astype(np.float32).T)


def test_the_wav_files_of_scipy_are_read_as_scipy_does() -> None:
    """Files of many encoders, some of them broken on purpose, in the tests that scipy installs."""
    read_as_scipy, refusals = 0, 0
    for path in sorted((Path(scipy.io.__file__).parent / "tests" / "data").glob("*.wav")):
        try:
            found = read_sound(path)
        except InputError:
            refusals += 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                rate, values = scipy.io.wavfile.read(path)
            except ValueError:  # A-law and mu-law
                continue
        if values.dtype.kind != "f":
            middle = 128 if values.dtype.kind == "u" else 0
            values = (values.astype(np.float64) - middle) / 2.0 ** (8 * values.dtype.itemsize - 1)
        assert found.rate == rate
        np.testing.assert_allclose(found.values.T, values.reshape(len(values), -1), atol=1e-7, err_msg=path.name)
        read_as_scipy += 1
    if not read_as_scipy:
        pytest.skip("scipy was installed without its tests")
    assert read_as_scipy > 12
    assert refusals > 4


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_pyav_finds_the_same(kind: str, subtype: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is the independent reader")
    data = encoded(kind, subtype, rate=48000)
    found = read(data, tmp_path).values
    parts = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            part = frame.to_ndarray().astype(np.float64)
            kept = part if frame.format.is_planar else part.reshape(-1, frame.layout.nb_channels).T
            name = frame.format.name.rstrip("p")
            parts.append({"u8": (kept - 128) / 128, "s16": kept / 2**15, "s32": kept / 2**31}.get(name, kept))
    expected = np.concatenate(parts, axis=1)
    length = min(expected.shape[1], found.shape[1])
    assert length >= LENGTH - 4096 * (kind in ("OGG", "CAF"))  # FFmpeg drops the last packet there when it is probed
    assert np.abs(found[:, :length] - expected[:, :length]).max() < (4e-3 if "MS_ADPCM" in subtype else 1e-3)


def test_loud_mp3_overshoots_and_is_cut_at_full_scale(tmp_path: Path) -> None:
    square = np.sign(np.sin(np.arange(LENGTH) * 0.3))[:, None] * 0.999
    assert np.abs(soundfile.read(io.BytesIO(encoded("MP3", "MPEG_LAYER_III", square)))[0]).max() > 1
    assert np.abs(read(encoded("MP3", "MPEG_LAYER_III", square), tmp_path).values).max() == 1


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF024])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM"])
def test_wav_of_a_killed_recorder_is_read_to_its_end(size: int, subtype: str, tmp_path: Path) -> None:
    data = bytearray(encoded("WAV", subtype))
    whole = read(bytes(data), tmp_path).values
    at = data.find(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", size)
    np.testing.assert_array_equal(read(bytes(data), tmp_path).values[:, :LENGTH], whole[:, :LENGTH])
    if subtype != "MS_ADPCM":  # a block was being written
        np.testing.assert_array_equal(read(bytes(data[:-1]), tmp_path).values, whole[:, :-1])


@pytest.mark.parametrize(("kind", "place", "width"), [("AU", b".snd", 4), ("CAF", b"data", 8), ("W64", b"data\xf3", 8)])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_other_formats_may_leave_their_length_open(
    kind: str, place: bytes, width: int, subtype: str, tmp_path: Path
) -> None:
    data = bytearray(encoded(kind, subtype))
    whole = read(bytes(data), tmp_path).values
    at = data.find(place) + {"AU": 8, "CAF": 4, "W64": 16}[kind]
    data[at : at + width] = (bytes if kind == "W64" else b"\xff".__mul__)(width)
    frame = int(subtype[4:]) // 4
    for lost in (0, 100):
        del data[len(data) - lost * frame :]
        np.testing.assert_array_equal(read(bytes(data), tmp_path).values, whole[:, : LENGTH - lost])


def test_rf64_and_aiff_of_killed_recorders_are_refused(tmp_path: Path) -> None:
    wide, apple = bytearray(encoded("RF64", "PCM_16")), bytearray(encoded("AIFF", "PCM_16"))
    wide[20:44] = bytes(24)
    at = apple.find(b"SSND") + 4
    apple[4:8] = apple[at : at + 4] = bytes(4)
    for data in (wide, apple):
        with refused("does not say how much sound it holds") as refusal:
            read(bytes(data), tmp_path)
        assert "keeps all of it" in str(refusal.value.hint)


def stale(data: bytes, kind: str) -> bytes:
    """A header that claims a quarter of the samples, as recorders leave it that write it now and then."""
    changed = bytearray(data)
    if kind == "FLAC":
        packed = int.from_bytes(data[18:26], "big")
        changed[18:26] = (packed - LENGTH + LENGTH // 4).to_bytes(8, "big")
        return bytes(changed)
    mark, before, width, order = {
        "WAV": (b"data", 4, 4, "little"),
        "AIFF": (b"SSND", 4, 4, "big"),
        "AU": (b".snd", 8, 4, "big"),
        "CAF": (b"data", 4, 8, "big"),
        "W64": (b"data\xf3\xac\xd3\x11", 16, 8, "little"),
        "RF64": (b"ds64", 16, 8, "little"),
        "MP3": (b"Xing", 8, 4, "big"),
    }[kind]
    at = data.find(mark) + before
    size = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
    changed[at : at + width] = (size // 4 & ~7 or size // 2).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(changed)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC", "MP3"])
def test_a_header_that_claims_less_than_the_file_holds_is_refused(kind: str, tmp_path: Path) -> None:
    data = encoded(kind, "MPEG_LAYER_III" if kind == "MP3" else "PCM_16")
    with refused("claims|its header claims") as refusal:
        read(stale(data, kind), tmp_path)
    assert "ffmpeg" in str(refusal.value.hint)
    assert ("-ignore_length 1" in str(refusal.value.hint)) == (kind in ("WAV", "RF64", "W64"))


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST\x04\0\0\0INFO",
        b"id3 \x03\0\0\0abc\0",
        b"TAG" + bytes(125),
        bytes(300),
        b"\0",
        b"JUNK\x02\0\0\0ab" + b"LIST\x04\0\0\0INFO",
    ],
)
def test_chunks_tags_and_padding_behind_the_samples_are_none(tail: bytes, tmp_path: Path) -> None:
    data = encoded("WAV", "PCM_16")
    np.testing.assert_array_equal(read(data + tail, tmp_path).values, read(data, tmp_path).values)


def test_flac_that_does_not_say_its_length_is_refused(tmp_path: Path) -> None:
    data = bytearray(encoded("FLAC", "PCM_16"))
    packed = int.from_bytes(data[18:26], "big")
    data[18:26] = (packed >> 36 << 36).to_bytes(8, "big")
    data[26:42] = bytes(16)
    with refused("does not say how much sound it holds") as refusal:
        read(bytes(data), tmp_path)
    assert "ffmpeg -i" in str(refusal.value.hint)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_the_signature_of_flac_is_that_of_its_encoder(subtype: str, bits: int) -> None:
    data = encoded("FLAC", subtype)
    values, _ = soundfile.read(io.BytesIO(data), dtype="int32", always_2d=True)
    assert flac_samples(data)[:2] == (LENGTH, bits)
    assert flac_md5(values, bits) == data[26:42]


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_file_is_refused(kind: str, subtype: str, share: float, tmp_path: Path) -> None:
    data = encoded(kind, subtype)
    with refused("truncated|corrupt|none of the formats|expected"):
        read(data[: int(share * len(data))], tmp_path)


def test_an_ogg_that_was_not_closed_or_holds_two_is_refused(tmp_path: Path) -> None:
    data = encoded("OGG", "VORBIS")
    last = data.rfind(b"OggS")
    with refused("its last page does not end the recording"):
        read(data[:last], tmp_path)
    with refused("holds several recordings"):
        read(data + data, tmp_path)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"\xff\xf1\x4c\x40", r"AAC \(ADTS\)"),
        (b"\0\0\0\x1cftypM4A ", "m4a"),
        (bytes.fromhex("3026b2758e66cf11"), "wma"),
        (b"#!AMR\n", "AMR"),
        (b"#!AMR-WB\n", "AMR-WB"),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
        (b"wvpk", "WavPack"),
        (b"MThd", "MIDI"),
    ],
)
def test_formats_that_are_not_read_are_named(head: bytes, named: str, tmp_path: Path) -> None:
    with refused(f"is .*{named}.*; expected wav, flac") as refusal:
        read(head + bytes(100), tmp_path)
    assert "sound.flac` converts it" in str(refusal.value.hint)


@pytest.mark.parametrize(("tag", "named"), [(0x161, "WMA in WAV"), (0x1234, "codec 0x1234 in WAV")])
def test_the_codec_of_a_wav_that_is_not_read_is_named(tag: int, named: str, tmp_path: Path) -> None:
    data = bytearray(encoded("WAV", "PCM_16"))
    data[20:22] = struct.pack("<H", tag)
    with refused(named):
        read(bytes(data), tmp_path)


def test_speech_in_ogg_is_named(tmp_path: Path) -> None:
    page = b"OggS\0\x06" + bytes(20) + b"\x01\x50" + b"Speex   " + bytes(72)
    with refused("Speex"):
        read(page, tmp_path)


def test_bare_samples_are_told_how_to_be_read(tmp_path: Path) -> None:
    with refused("none of the formats wav, flac") as refusal:
        read(np.arange(4000, dtype="<i2").tobytes(), tmp_path)
    assert "ffmpeg -f s16le -ar 16000 -ac 1 -i" in str(refusal.value.hint)


def flip(data: bytes, damage: dict[int, int]) -> bytes:
    changed = bytearray(data)
    for at, bit in damage.items():
        changed[at % len(data)] ^= 1 << bit
    return bytes(changed)


@settings(deadline=None, max_examples=150)
@given(
    form=st.sampled_from(FORMATS),
    keep=st.sampled_from([1.0, 1.0, 0.9, 0.3]),
    damage=st.dictionaries(st.one_of(st.integers(0, 120), st.integers(0, 30_000)), st.integers(0, 7), max_size=5),
)
def test_damaged_sound_is_read_or_refused(
    form: tuple[str, str], keep: float, damage: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = flip(encoded(*form), damage)
    with taken_or_refused():
        SMALL.input.check(preprocess(SMALL, [read(data[: int(keep * len(data))], tmp_path_factory.getbasetemp())]))


UNSURE = {"AU": "length", "AIFF": "rate", "CAF": "rate", "FLAC": "rate"}
"""Where a header says something only once, so that no reader can tell that it is wrong."""


@settings(deadline=None, max_examples=150)
@given(
    form=st.sampled_from([form for form in FORMATS if UNSURE.get(form[0]) != "length"]),
    place=st.one_of(st.integers(0, 200), st.integers(0, 30_000)),
    bit=st.integers(0, 7),
)
def test_a_wrong_bit_never_gives_another_length_or_rate(
    form: tuple[str, str], place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = encoded(*form)
    whole = read(data, tmp_path_factory.getbasetemp())
    try:
        found = read(flip(data, {place: bit}), tmp_path_factory.getbasetemp())
    except InputError:
        return
    assert found.values.shape == whole.values.shape
    assert found.rate == whole.rate or form[0] in UNSURE or "ADPCM" in form[1]


@settings(deadline=None, max_examples=60)
@given(
    form=st.sampled_from(INTEGERS),
    length=st.integers(2400, 4000),
    channels=st.integers(1, 5),
    rate=st.sampled_from([8000, 11025, 44100, 96000]),
)
def test_what_is_written_is_read(
    form: tuple[str, str], length: int, channels: int, rate: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    counts = np.random.default_rng(length).integers(-30000, 30000, (length, channels), dtype=np.int16)
    frame = read(encoded(*form, values=counts, rate=rate), tmp_path_factory.getbasetemp())
    assert frame.rate == rate
    np.testing.assert_array_equal(frame.values, counts.T / np.float32(32768))


def test_tables_of_chunks_and_pages_are_bounded(tmp_path: Path) -> None:
    """Half a million chunks of nothing take no minute."""
    many: list[Callable[[], bytes]] = [
        lambda: b"RIFF" + struct.pack("<I", 2**22) + b"WAVE" + b"JUNK\0\0\0\0" * 2**19,
        lambda: b"OggS" + bytes(23) + (b"OggS" + bytes(23)) * 2**17,
        lambda: bytes.fromhex("fff3 1864".replace(" ", "")) + bytes(68) * 2**12,
    ]
    for make in many:
        with pytest.raises(InputError):
            read(make(), tmp_path)
