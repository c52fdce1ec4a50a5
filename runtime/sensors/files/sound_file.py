"""Sound from WAV and FLAC files."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, MAGIC_BYTES, open_sensor_file, quoted
from advcal_edge.runtime.sensors.frame import Recording


def read_sound(path: str | os.PathLike[str]) -> Recording:
    """The channels (c, t) in a sound file, float32 with full scale at 1, and their rate.

    Raises:
        InputError: missing, neither WAV nor FLAC, too long, truncated or corrupt.
        DependencyError: soundfile is not installed.
    """
    path = Path(path)
    with open_sensor_file(path) as file:
        head = file.read(MAGIC_BYTES)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            _check_riff(path, head, os.fstat(file.fileno()).st_size)
        elif head[:4] != b"fLaC":
            raise InputError(
                f"`{path}` is neither a WAV nor a FLAC file", hint=f"`ffmpeg -i {quoted(path)} sound.flac` converts it"
            )
        soundfile = _load_soundfile()
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # seeking in `file` would only move within its read buffer
        try:
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                claimed, channels, rate = sound.frames, sound.channels, float(sound.samplerate)
                limits.SOUND_SAMPLES.check(claimed * channels, f"`{path}`, of {channels} channels,", InputError)
                values = sound.read(dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
            reason = getattr(error, "error_string", None) or error  # without the name of the file object
            raise InputError(f"`{path}` is a truncated or corrupt sound file: {reason}", hint=AGAIN) from error
    if len(values) != claimed:
        raise InputError(
            f"`{path}` holds {len(values)} samples; expected the {claimed} that its header claims", hint=_whole(path)
        )
    return Recording(np.ascontiguousarray(values.T), rate)


def _check_riff(path: Path, head: bytes, size: int) -> None:
    """Check the length: libsndfile reads the rest of a truncated file as if it were complete."""
    claimed = int.from_bytes(head[4:8], "little") + 8
    if claimed > size:
        raise InputError(f"`{path}` has {size} bytes; expected the {claimed} that its header claims", hint=_whole(path))


def _whole(path: Path) -> str:
    return f"the recorder did not finish it; `ffmpeg -i {quoted(path)} sound.flac` keeps what there is"


def _load_soundfile() -> ModuleType:
    try:
        return import_module("soundfile")
    except (ImportError, OSError) as error:  # the generic wheel comes without libsndfile
        raise DependencyError("soundfile", extra="sensors", purpose="reading sound files") from error
