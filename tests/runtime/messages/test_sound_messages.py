"""Sound in messages against numpy: formats of samples, channels, lost chunks, and what nothing describes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from refusal import refused
from ros import LIBRARIES, NANOSECONDS, header

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.messages import FrameReader, SoundFormat
from advcal_edge.runtime.sensors import Recording
from advcal_edge.spec import audio

RATE = 16000
CHUNK = 1600
WAVE = (np.sin(np.arange(4 * RATE) * 0.07) * 12000).astype(np.int16)


def read(messages: list[Any], kind: str, form: SoundFormat, seconds: float = 1.0) -> list[NDArray[Any]]:
    reader = FrameReader(audio(64, 96), kind, seconds=seconds, sound=form)
    found = [reader.add(message, CHUNK * NANOSECONDS // RATE * index) for index, message in enumerate(messages)]
    frames = [one.frame for one in found if one is not None]
    assert all(isinstance(frame, Recording) and frame.rate == RATE for frame in frames)
    return [frame.values for frame in frames if isinstance(frame, Recording)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_bytes_of_sixteen_bits(library: str) -> None:
    chunks = [LIBRARIES[library](part.tobytes()) for part in WAVE.reshape(-1, CHUNK)]
    found = read([SimpleNamespace(data=data) for data in chunks], "audio_common_msgs/AudioData", SoundFormat(RATE))
    assert len(found) == 3
    np.testing.assert_array_equal(np.concatenate(found), WAVE[: 3 * RATE])


@pytest.mark.parametrize(
    ("name", "dtype", "scale"),
    [("S16BE", ">i2", 1), ("S32LE", "<i4", 2**16), ("F32LE", "<f4", 2**-15), ("F64BE", ">f8", 2**-15)],
)
def test_other_samples(name: str, dtype: str, scale: float) -> None:
    raw = (WAVE.astype(np.float64) * scale).astype(dtype)
    messages = [SimpleNamespace(data=part.tobytes()) for part in raw.reshape(-1, CHUNK)]
    found = read(messages, "audio_common_msgs/AudioData", SoundFormat(RATE, 1, name))[0]
    found = found / (2**15 if found.dtype == np.int16 else 1)
    np.testing.assert_allclose(found, WAVE[:RATE] / 2**15, atol=1e-6)


def test_stamped_stereo() -> None:
    both = np.stack([WAVE, WAVE // 3], axis=1)
    messages = [
        SimpleNamespace(header=header(index * 100_000_000 + 1), audio=SimpleNamespace(data=part.tobytes()))
        for index, part in enumerate(both.reshape(-1, CHUNK, 2))
    ]
    found = read(messages, "audio_common_msgs/msg/AudioDataStamped", SoundFormat(RATE, 2))[0]
    np.testing.assert_array_equal(found, both[:RATE].T)


@pytest.mark.parametrize(("kind", "dtype"), [("Int16", np.int16), ("Float32", np.float32)])
def test_arrays_of_numbers(kind: str, dtype: type) -> None:
    raw = WAVE if dtype is np.int16 else (WAVE / 2**15).astype(np.float32)
    layout = SimpleNamespace(dim=[SimpleNamespace(label="samples", size=CHUNK, stride=1)], data_offset=0)
    messages = [SimpleNamespace(layout=layout, data=part) for part in raw.reshape(-1, CHUNK)]
    np.testing.assert_array_equal(read(messages, f"std_msgs/msg/{kind}MultiArray", SoundFormat(RATE))[0], raw[:RATE])
    as_lists = [SimpleNamespace(layout=layout, data=part.tolist()) for part in raw.reshape(-1, CHUNK)]
    np.testing.assert_array_equal(read(as_lists, f"std_msgs/msg/{kind}MultiArray", SoundFormat(RATE))[0], raw[:RATE])


def test_channels_of_a_layout() -> None:
    both = np.stack([WAVE, WAVE // 3], axis=1)
    layout = SimpleNamespace(dim=[SimpleNamespace(label="channels", size=2, stride=2)], data_offset=0)
    messages = [SimpleNamespace(layout=layout, data=part.reshape(-1)) for part in both.reshape(-1, CHUNK, 2)]
    np.testing.assert_array_equal(read(messages, "std_msgs/Int16MultiArray", SoundFormat(RATE))[0], both[:RATE].T)


def test_lost_chunks_and_a_wrong_rate_are_named() -> None:
    messages = [SimpleNamespace(data=part.tobytes()) for part in WAVE.reshape(-1, CHUNK)]
    with refused(r"s of sound in .* from"):
        read(messages, "audio_common_msgs/AudioData", SoundFormat(RATE * 3))


def test_a_chunk_that_was_lost_at_the_end_of_a_window_is_missed() -> None:
    reader = FrameReader(audio(64, 96), "audio_common_msgs/AudioData", seconds=1, sound=SoundFormat(RATE))
    step = CHUNK * NANOSECONDS // RATE
    for index, part in enumerate(WAVE[: 5 * CHUNK].reshape(-1, CHUNK)):
        reader.add(SimpleNamespace(data=part.tobytes()), index * step)
    with refused("0.500 s of sound in 1.000 s"):
        reader.add(SimpleNamespace(data=WAVE[:CHUNK].tobytes()), 10 * step)


@pytest.mark.parametrize("start", [b"ID3\x03", b"\xff\xfb\x90\x00", b"OggS", b"fLaC", b"RIFF"])
def test_compressed_sound_is_named(start: bytes) -> None:
    with refused("expected samples"):
        read([SimpleNamespace(data=start + bytes(400))], "audio_common_msgs/AudioData", SoundFormat(RATE))


def test_sound_that_nothing_describes() -> None:
    with pytest.raises(ConfigError, match="rate") as refusal:
        FrameReader(audio(64, 96), "std_msgs/msg/Int16MultiArray")
    assert "--rate" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "change", [{"coding_format": "mp3"}, {"sample_format": "S24LE"}, {"channels": 0}, {"sample_rate": 0}]
)
def test_descriptions_that_cannot_be_followed(change: dict[str, object]) -> None:
    info = {"channels": 1, "sample_rate": RATE, "sample_format": "S16LE", "bitrate": 0, "coding_format": "wave"}
    assert SoundFormat.of(SimpleNamespace(**info)) == SoundFormat(RATE)
    with refused("sound"):
        SoundFormat.of(SimpleNamespace(**{**info, **change}))
