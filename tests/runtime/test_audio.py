"""Sound in, log-mel spectrograms out: as Kaldi defines them, wherever the sound comes from; else an InputError."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from refusal import refused, taken_or_refused
from scipy import signal

from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.probe import from_levels
from advcal_edge.runtime.sensors import Recording, preprocess, preprocess_clips, read_frame
from advcal_edge.runtime.sensors.audio import log_mel
from advcal_edge.runtime.sensors.resample import clip_starts, resample
from advcal_edge.spec import audio

GOLDEN = Path(__file__).parent / "golden"
SMALL = audio(16, 40)
IMAGEBIND = audio(128, 204).with_settings({"seconds": 2.0})
EXAMPLES = settings(deadline=None, max_examples=30)


def sound(seconds: float = 2.0, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    """A rising tone in noise."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.05, len(t))
    return (0.4 * np.sin(2 * np.pi * (200 + 700 * t) * t) + noise).clip(-1, 1).astype(np.float32)


def kaldi_fbank(wave: NDArray[np.float32], rate: int, mels: int) -> NDArray[np.float64]:
    """(mels, frames), frame by frame and triangle by triangle, after the definition in Kaldi's feature-fbank.cc."""

    def mel(hertz: float) -> float:
        return float(1127.0 * np.log(1.0 + hertz / 700.0))

    size, shift = rate * 25 // 1000, rate * 10 // 1000
    points = 2 ** int(np.ceil(np.log2(size)))
    window = np.array([0.5 - 0.5 * np.cos(2 * np.pi * i / (size - 1)) for i in range(size)])
    step = (mel(rate / 2) - mel(20.0)) / (mels + 1)
    places = [mel(k * rate / points) for k in range(points // 2)]
    columns = []
    for start in range(0, len(wave) - size + 1, shift):
        frame = wave[start : start + size].astype(np.float64)
        frame = frame - frame.mean()
        emphasised = frame.copy()
        emphasised[1:] -= 0.97 * frame[:-1]
        emphasised[0] -= 0.97 * frame[0]
        power = np.abs(np.fft.fft(emphasised * window, points)) ** 2
        energies = np.zeros(mels)
        for index in range(mels):
            left, centre, right = (mel(20.0) + step * (index + k) for k in range(3))
            for k, place in enumerate(places):
                if left < place <= centre:
                    energies[index] += power[k] * (place - left) / (centre - left)
                elif centre < place < right:
                    energies[index] += power[k] * (right - place) / (right - centre)
        columns.append(np.log(np.maximum(energies, 2.0**-23)))
    return np.stack(columns, axis=1)


def test_a_spectrogram_is_the_one_that_imagebind_was_trained_with() -> None:
    wave = sound()
    x = preprocess(IMAGEBIND, [Recording(wave, 16000)])[0, 0]
    expected = kaldi_fbank(wave - wave.mean(), 16000, 128)
    assert expected.shape == (128, 198)
    assert np.abs(x[:, :198] - expected).max() < 1e-3
    assert np.abs(x[:, 198:]).max() < 28 / 65535, "upstream fills with 0.0"


@pytest.mark.parametrize(("rate", "mels"), [(16000, 23), (16000, 64), (16000, 112), (44100, 80)])
def test_a_spectrogram_is_that_of_kaldi_native_fbank(rate: int, mels: int) -> None:
    wave = sound(0.5, rate)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "hanning"
    options.mel_opts.num_bins = mels
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(rate, wave)
    bank.input_finished()
    expected = np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)], axis=1)
    np.testing.assert_allclose(log_mel(wave, rate, mels), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("length", [80_000, 48_001, 100_003, 32_001])
def test_clips_lie_where_pytorchvideo_puts_them(length: int) -> None:
    step = Fraction(length / 16000 - 2) / 2
    assert clip_starts(length, 16000, 2.0, 3) == [int(step * clip * 16000) for clip in range(3)]
    assert clip_starts(length, 16000, 2.0, 3)[-1] + 32_000 <= length
    assert clip_starts(length, 16000, 2.0, 1) == clip_starts(length, 16000, 2.0, 3)[1:2]


def test_clips_are_cut_out_of_the_recording() -> None:
    wave = sound(5.0)
    clips = preprocess_clips(IMAGEBIND, Recording(wave, 16000))
    assert clips.shape == (3, 1, 128, 204)
    for clip, start in zip(clips, (0, 24_000, 48_000), strict=True):
        np.testing.assert_array_equal(clip, preprocess(IMAGEBIND, [Recording(wave[start : start + 32_000], 16000)])[0])
    np.testing.assert_array_equal(clips[1:2], preprocess(IMAGEBIND, [Recording(wave, 16000)]))


def test_a_short_recording_is_one_clip_filled_with_zeros_or_repeated() -> None:
    short = Recording(sound(0.185), 16000)  # 17 frames
    zeros = preprocess_clips(SMALL, short)
    assert zeros.shape == (3, 1, 16, 40)
    np.testing.assert_array_equal(zeros[0], zeros[2])
    assert np.abs(zeros[..., 17:]).max() < 28 / 65535
    repeated = preprocess(SMALL.with_settings({"repeat": 1}), [short])
    np.testing.assert_array_equal(repeated[..., :17], zeros[:1, ..., :17])
    np.testing.assert_array_equal(repeated[..., 17:34], repeated[..., :17])
    np.testing.assert_array_equal(repeated[..., 34:], repeated[..., :6])


@EXAMPLES
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 192000, 15999.5]),
    seconds=st.floats(0.026, 0.9),
    channels=st.integers(0, 3),
    loudness=st.sampled_from([1e-4, 0.01, 1.0]),
    counts=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_sound_becomes_legal_clips_on_the_grid(
    rate: float, seconds: float, channels: int, loudness: float, counts: bool, seed: int
) -> None:
    shape = (channels, int(seconds * rate) + 1) if channels else (int(seconds * rate) + 1,)
    values = np.random.default_rng(seed).uniform(-loudness, loudness, shape)
    frame = Recording((values * 32767).astype(np.int16) if counts else values.astype(np.float32), rate)
    x = preprocess_clips(SMALL, frame)
    SMALL.input.check(x)
    levels = np.rint((x.astype(np.float64) + 16) / 28 * 65535).astype(np.uint16)
    np.testing.assert_array_equal(from_levels(levels, SMALL.input), x)


@pytest.mark.parametrize("sign", [1, -1])
def test_full_scale_stays_inside_the_bounds(sign: int) -> None:
    t = np.arange(16000) / 16000
    for hertz in (100, 1000, 3000, 7500):
        square = sign * np.sign(np.sin(2 * np.pi * hertz * t)).astype(np.float32)
        assert preprocess(audio(23, 98), [Recording(square, 16000)]).max() < 11.999


def test_half_the_amplitude_is_a_quarter_of_the_energy_and_the_sign_does_not_count() -> None:
    wave = sound(0.4)
    loud, quiet, turned = preprocess(SMALL, [Recording(w, 16000) for w in (wave, wave / 2, -wave)])
    frames = slice(0, 38)
    np.testing.assert_allclose(loud[..., frames] - quiet[..., frames], np.log(4), atol=1e-3)
    np.testing.assert_allclose(turned, loud, atol=5e-4)


def test_one_step_later_is_one_frame_further() -> None:
    wave = sound(0.6)
    now, later = preprocess(
        SMALL.with_settings({"seconds": 0.4}), [Recording(wave[s : s + 6400], 16000) for s in (0, 160)]
    )
    np.testing.assert_allclose(later[..., :37], now[..., 1:38], atol=1e-3)


def test_channels_are_averaged_and_counts_are_shares_of_full_scale() -> None:
    wave = sound(0.4)
    counts = np.rint(wave * 32767).astype(np.int16)
    mono = preprocess(SMALL, [Recording(counts.astype(np.float32) / 32768, 16000)])
    np.testing.assert_array_equal(preprocess(SMALL, [Recording(counts, 16000)]), mono)
    np.testing.assert_array_equal(preprocess(SMALL, [Recording(np.stack([counts, counts]), 16000)]), mono)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_is_torchaudio_s(rate: int) -> None:
    """Its default filter, written as the impulse response of zero stuffing and decimation."""
    up, down = 16000 // math.gcd(rate, 16000), rate // math.gcd(rate, 16000)
    cutoff = 0.99 * min(up, down)
    centre = math.ceil(6 * up / cutoff) * down  # a whole number of outputs
    t = np.arange(-centre, centre + 1) / (up * down) * cutoff
    response = np.sinc(t) * np.cos(np.pi * t / 12) ** 2 * (np.abs(t) <= 6) * cutoff / down
    wave = sound(0.2, rate)
    expected = signal.upfirdn(response, wave.astype(np.float64), up, down)[centre // down :][:3200]
    np.testing.assert_allclose(resample(wave[None], rate, 16000, 0, 3200, hold=False)[0], expected, atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_a_tone(rate: int) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[None]
    x = resample(tone, rate, 16000, 4000, 8000, hold=False)[0]
    np.testing.assert_allclose(x, np.sin(2 * np.pi * 1000 * np.arange(4000, 12000) / 16000), atol=3e-3)


def test_resampling_silences_what_the_lower_rate_cannot_carry() -> None:
    tone = np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000)[None]
    assert np.abs(resample(tone, 48_000, 16_000, 1000, 14_000, hold=False)).max() < 0.003


@pytest.mark.parametrize("rate", [44100, 48000, 8000])
def test_a_part_of_a_resampled_signal_is_a_part_of_the_whole(rate: int) -> None:
    wave = sound(0.5, rate)[None]
    whole = resample(wave, rate, 16000, 0, 8000, hold=False)
    np.testing.assert_allclose(resample(wave, rate, 16000, 1234, 999, hold=False), whole[:, 1234:2233], atol=1e-9)


def test_golden_sound() -> None:
    x = preprocess_clips(SMALL, read_frame(GOLDEN / "audio_chirp.wav", SMALL))
    with np.load(GOLDEN / "audio_chirp.npz") as file:
        expected = from_levels(file["levels"], SMALL.input)
    np.testing.assert_allclose(x, expected, atol=2 * 28 / 65535)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_files_give_what_was_recorded(kind: str, tmp_path: Path) -> None:
    counts = np.rint(np.stack([sound(0.3, 22050), sound(0.3, 22050, 1)]) * 32767).astype(np.int16)
    soundfile.write(tmp_path / f"a.{kind}", counts.T, 22050, subtype="PCM_16")
    frame = read_frame(tmp_path / f"a.{kind}", SMALL)
    assert isinstance(frame, Recording)
    assert frame.rate == 22050
    np.testing.assert_array_equal(frame.values, counts / np.float32(32768))


@pytest.mark.parametrize("kind", ["wav", "flac"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{kind}"
    soundfile.write(whole, sound(0.5), 16000)
    data = whole.read_bytes()
    part = tmp_path / f"part.{kind}"
    part.write_bytes(data[: int(len(data) * share)])
    with refused(r"part\."):
        read_frame(part, SMALL)


@EXAMPLES
@given(place=st.integers(0, 200), value=st.integers(0, 255))
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_corrupt_header_is_taken_or_refused(
    kind: str, place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("corrupt") / f"a.{kind}"
    soundfile.write(path, sound(0.1), 16000)
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(data)
    with taken_or_refused():
        SMALL.input.check(preprocess(SMALL, [read_frame(path, SMALL)]))


def test_the_extra_that_reads_sound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DependencyError, match="soundfile") as caught:
        read_frame(GOLDEN / "audio_chirp.wav", SMALL)
    assert "[sensors]" in str(caught.value.hint)


def test_what_is_no_sound_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not a sound at all" * 20)
    with refused("none of the formats wav, flac"):
        read_frame(tmp_path / "a.wav", SMALL)
    with refused("cannot read"):
        read_frame(tmp_path / "missing.wav", SMALL)


def with_nan() -> NDArray[np.float32]:
    wave = sound(0.4)
    wave[7] = np.nan
    return wave


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (sound(0.4), "expected a recording"),
        (Recording(np.zeros(16000, np.float32), 16000), "silent"),
        (Recording(np.full(16000, 0.5, np.float32), 16000), "silent"),
        (Recording(np.stack([sound(0.4), -sound(0.4)]), 16000), "silent"),
        (Recording(np.zeros(0, np.float32), 16000), "at least 25 ms"),
        (Recording(np.zeros((0, 9000), np.float32), 16000), "at least 25 ms"),
        (Recording(sound(0.02), 16000), "at least 25 ms"),
        (Recording(with_nan(), 16000), "finite"),
        (Recording(sound(0.4) * 100, 16000), r"within \[-1, 1\]"),
        (Recording(sound(0.4), 0), "rate"),
        (Recording(sound(0.4), -16000), "rate"),
        (Recording(sound(0.4), float("nan")), "rate"),
        (Recording(sound(0.4), 1e9), "rate"),
        (Recording(sound(0.4)[:, None], 16000), "channels"),
        (Recording(sound(0.4)[None, None], 16000), "expected a recording"),
        (Recording(np.zeros(9000, np.int32), 16000), "expected a recording"),
        (Recording(np.broadcast_to(np.float32(0), (2, 2**26)), 16000), "at most"),
    ],
)
def test_what_is_no_sound_is_refused(frame: Any, message: str) -> None:
    with refused(message):
        preprocess_clips(SMALL, frame)


@pytest.mark.parametrize("change", [{"rate": 10}, {"seconds": 0}, {"seconds": 1e9}])
def test_settings_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        preprocess(SMALL.with_settings(change), [Recording(sound(0.4), 16000)])
