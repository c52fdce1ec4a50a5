"""Sound from WAV and FLAC files."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.preprocess.frame import Recording
from advcal_edge.runtime.preprocess.magic import read_magic

MAX_SAMPLES = 64 * 2**20
"""Of all channels together: 23 minutes of mono at 48 kHz, 256 MiB as float32."""


def read_sound(path: str | os.PathLike[str]) -> Recording:
    """The channels (c, t) in a sound file, float32 with full scale at 1, and their rate.

    Raises:
        InputError: missing, neither WAV nor FLAC, too long, truncated or corrupt.
        DependencyError: soundfile is not installed.
    """
    path = Path(path)
    head = read_magic(path)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        _check_riff(path, head)
    elif head[:4] != b"fLaC":
        raise InputError(f"`{path}` is neither a WAV nor a FLAC file", hint="ffmpeg -i SOUND sound.flac")
    soundfile = _load_soundfile()
    try:
        with soundfile.SoundFile(path) as file:
            claimed = file.frames
            if claimed * file.channels > MAX_SAMPLES:
                raise InputError(
                    f"`{path}` claims {claimed} samples of {file.channels} channels; expected at most {MAX_SAMPLES}"
                    " in all",
                    hint="cut the recording into parts",
                )
            values = file.read(dtype="float32", always_2d=True)
            rate = float(file.samplerate)
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
        raise InputError(f"`{path}` is a truncated or corrupt sound file: {error}") from error
    if len(values) != claimed:
        raise InputError(f"`{path}` holds {len(values)} samples; expected the {claimed} that its header claims")
    return Recording(np.ascontiguousarray(values.T), rate)


def _check_riff(path: Path, head: bytes) -> None:
    """libsndfile takes what is left of a truncated file for the whole, so the length is compared here."""
    claimed, size = int.from_bytes(head[4:8], "little") + 8, path.stat().st_size
    if claimed > size:
        raise InputError(
            f"`{path}` has {size} bytes; expected the {claimed} that its header claims",
            hint="the recorder did not finish the file; `ffmpeg -i SOUND sound.flac` writes what there is anew",
        )


def _load_soundfile() -> ModuleType:
    try:
        return import_module("soundfile")
    except (ImportError, OSError) as error:  # the wheel for other systems comes without libsndfile
        raise DependencyError("soundfile", extra="sensors", purpose="reading sound files") from error
