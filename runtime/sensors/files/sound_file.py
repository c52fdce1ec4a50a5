"""Sound files through libsndfile, checked for what it passes over: missing ends, and headers that claim too little."""

from __future__ import annotations

import io
import os
import re
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.sensors.files.opencv import hearing
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, MAGIC_BYTES, open_sensor_file, quoted
from advcal_edge.runtime.sensors.files.sound_chunks import Extent, find_container, measure_au, measure_chunks
from advcal_edge.runtime.sensors.files.sound_stream import (
    check_mpeg_audio,
    check_ogg,
    flac_md5,
    flac_samples,
    is_mpeg_audio,
)
from advcal_edge.runtime.sensors.frame import Recording

FORMATS = "wav, flac, ogg, opus, mp3, aiff, au, caf, w64 or rf64"

FOREIGN: tuple[tuple[bytes, str], ...] = (
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC (ADTS)"),
    (rb"ADIF", "AAC (ADIF)"),
    (rb"....ftypM4[AB]", "AAC or ALAC in MP4 (m4a)"),
    (rb"....ftyp", "MP4"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows media (wma)"),
    (rb"#!AMR-WB", "AMR-WB"),
    (rb"#!AMR", "AMR"),
    (rb"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (rb"\x0b\x77", "AC-3"),
    (rb"MAC ", "Monkey's Audio"),
    (rb"wvpk", "WavPack"),
    (rb"DSD |FRM8", "DSD"),
    (rb"NIST_1A", "NIST SPHERE"),
    (rb"Creative Voice", "Creative Voice (voc)"),
    (rb"RIFF....AVI ", "AVI"),
    (rb"MThd", "MIDI, which holds notes and no sound"),
)
"""Formats by their first bytes that are recognised and not read."""


LOSSY = ("Vorbis", "Opus", "MP3")
"""Their decoders overshoot full scale where the encoder had cut off loud sound; players cut it off again."""

UNKNOWN = 2**62
"""libsndfile says this or more where a file does not say how many samples it has."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a file holds by its own account."""

    name: str
    samples: int | None = None
    """Samples of each channel; None if it does not say."""
    slack: int = 0
    md5: tuple[int, bytes] | None = None
    """Bits of a sample, and the signature of all samples."""


def read_sound(path: str | os.PathLike[str]) -> Recording:
    """The channels (c, t) in a sound file, float32 with full scale at 1, and their rate.

    A WAV, W64, CAF or AU file whose recorder was killed before it wrote the sizes is read to its end.

    Raises:
        InputError: missing, of another format, too long, truncated, corrupt, or longer than its header claims.
        DependencyError: soundfile is not installed.
    """
    path = Path(path)
    with open_sensor_file(path) as file:
        source: BinaryIO | None = None
        head = file.read(MAGIC_BYTES)
        container = find_container(head)
        if container is not None or head.startswith(b".snd"):
            name = container.name if container else "AU"
            extent = measure_chunks(file, container) if container else measure_au(file)
            expected = _check_extent(path, name, extent)
            if extent is not None and extent.sizes:
                source = _mended(file, extent)
        elif head.startswith(b"fLaC"):
            claimed, bits, md5 = flac_samples(head)
            expected = _Expected("FLAC", claimed or None, md5=(bits, md5) if any(md5) else None)
        elif head.startswith(b"OggS") or is_mpeg_audio(head):
            stream = check_ogg(file) if head.startswith(b"OggS") else check_mpeg_audio(file)
            if stream.fault:
                raise InputError(
                    f"`{path}` ({stream.codec}) is truncated or corrupt: {stream.fault}", hint=_whole(path)
                )
            expected = _Expected(stream.codec, stream.samples or None, stream.slack)
        else:
            raise _foreign(path, head)
        soundfile = _load_soundfile()
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # seeking in `file` would only move within its read buffer
        try:
            with hearing(), soundfile.SoundFile(source or file.fileno(), closefd=False) as sound:
                return Recording(_read(path, sound, expected), float(sound.samplerate))
        except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
            reason = getattr(error, "error_string", None) or error  # without the name of the file object
            raise InputError(
                f"`{path}` ({expected.name}) is truncated or corrupt, or its codec is unknown here: {reason}",
                hint=_whole(path),
            ) from error


def _read(path: Path, sound: Any, expected: _Expected) -> NDArray[np.float32]:
    """All channels (c, t) of an open file, if they are as many as expected."""
    claimed, channels = sound.frames, sound.channels
    if claimed >= UNKNOWN:
        raise _unfinished(path, expected.name)
    limits.SOUND_SAMPLES.check(claimed * channels, f"`{path}`, of {channels} channels,", InputError)
    values = sound.read(dtype="int32" if expected.md5 else "float32", always_2d=True)
    wanted = claimed if expected.samples is None else expected.samples
    if not len(values):
        raise InputError(f"`{path}` ({expected.name}) holds no sound that decodes", hint=_whole(path))
    if len(values) != claimed or abs(len(values) - wanted) > expected.slack:
        raise InputError(
            f"`{path}` ({expected.name}) gives {len(values)} samples; expected {wanted} by its header",
            hint=_whole(path),
        )
    if expected.md5:
        bits, md5 = expected.md5
        if flac_md5(values, bits) != md5:
            raise InputError(
                f"`{path}` (FLAC) does not hold the {wanted} samples of its signature: it is corrupt, or has more than"
                " its header claims",
                hint=_whole(path),
            )
        values = values.astype(np.float32) * np.float32(2.0**-31)
    if expected.name in LOSSY:
        np.clip(values, -1, 1, out=values)
    return np.ascontiguousarray(values.T)


def _check_extent(path: Path, name: str, extent: Extent | None) -> _Expected:
    if extent is None:
        raise InputError(f"`{path}` ({name}) is truncated or corrupt: it has no chunk of samples", hint=AGAIN)
    if extent.missing:
        raise InputError(
            f"`{path}` ({name}) is truncated: it lacks {extent.missing:,} bytes that its header claims",
            hint=_whole(path),
        )
    if extent.surplus:
        raise InputError(
            f"`{path}` ({name}) claims {extent.size:,} bytes of sound, and {extent.surplus:,} bytes follow that are no"
            " chunk; expected a header that claims what the file holds",
            hint=_all(path, name),
        )
    if not extent.claims and not extent.sizes and name != "AU":
        raise _unfinished(path, name)
    header = extent.header
    if header.fault:
        raise InputError(f"`{path}` ({name}) has a header that contradicts itself: {header.fault}", hint=AGAIN)
    samples = header.samples
    if header.block:
        samples = max(0, extent.size - header.lead) // header.block
        if header.samples not in (None, samples):
            raise InputError(
                f"`{path}` ({name}) claims {header.samples} samples and holds {samples}", hint=_all(path, name)
            )
    return _Expected(f"{header.codec} in {name}" if header.codec else name, samples)


def _unfinished(path: Path, name: str) -> InputError:
    return InputError(f"`{path}` ({name}) does not say how much sound it holds", hint=_all(path, name))


def _mended(file: BinaryIO, extent: Extent) -> BinaryIO:
    """The bytes of a file whose recorder was killed, with the sizes that it would have written."""
    file.seek(0)
    copy = io.BytesIO()
    shutil.copyfileobj(file, copy)
    for place, size in extent.sizes:
        copy.seek(place)
        copy.write(size)
    copy.seek(0)
    return copy


def _whole(path: Path) -> str:
    return (
        f"the recorder did not finish it, or it was damaged; `ffmpeg -i {quoted(path)} sound.flac` keeps what there is"
    )


def _all(path: Path, name: str) -> str:
    """The command that keeps all sound behind a header that claims less, or nothing."""
    ignore = "-ignore_length 1 " if name in ("WAV", "RIFX", "RF64", "W64") else ""
    return f"the recorder did not finish it; `ffmpeg {ignore}-i {quoted(path)} sound.flac` keeps all of it"


def _foreign(path: Path, head: bytes) -> InputError:
    named = next((name for start, name in FOREIGN if re.match(start, head, re.DOTALL)), None)
    if named is not None:
        return InputError(
            f"`{path}` is {named}; expected {FORMATS}", hint=f"`ffmpeg -i {quoted(path)} sound.flac` converts it"
        )
    return InputError(
        f"`{path}` is none of the formats {FORMATS}",
        hint=f"if it is bare PCM, say what it holds: `ffmpeg -f s16le -ar 16000 -ac 1 -i {quoted(path)} sound.flac`",
    )


def _load_soundfile() -> ModuleType:
    try:
        return import_module("soundfile")
    except (ImportError, OSError) as error:  # the generic wheel comes without libsndfile
        raise DependencyError("soundfile", extra="sensors", purpose="reading sound files") from error
