"""What each tower takes: its tensor in physical bounds, and how a recording becomes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from advcal_edge import spec
from advcal_edge.encoders.languagebind.sizes import Configuration
from advcal_edge.errors import InputError
from advcal_edge.spec import Modality, TensorSpec


def modality_of(configuration: Configuration, folder: Path) -> Modality:
    """The input of a folder's tower.

    Raises:
        InputError: a camera's tower for frames that are not square.
    """
    sizes = configuration.vision
    if configuration.modality == "audio":
        return audio(sizes.height, sizes.width, sizes.sample_rate)
    if sizes.height != sizes.width:
        raise InputError(
            f"`config.json` in `{folder}` asks for {configuration.modality} frames of {sizes.height} x {sizes.width};"
            " expected square ones"
        )
    if configuration.modality == "depth":
        return depth(sizes.height, sizes.max_depth)
    if configuration.modality == "video":
        return video(sizes.height, sizes.frames)
    return spec.thermal(sizes.height) if configuration.modality == "thermal" else spec.image(sizes.height)


def video(size: int, frames: int) -> Modality:
    """One clip over the whole recording (`seconds` 0), its frames spread evenly from the first to the last."""
    return replace(spec.video(size, frames), settings={"clips": 1.0, "seconds": 0.0})


def audio(mels: int, frames: int, rate: float) -> Modality:
    """One spectrogram; a recording that is shorter than it repeats (`repeat` 1) rather than being padded.

    LanguageBind stacks three spectrograms, which differ only where a recording is longer than one of them. Here one
    serves as all three, so that an attack changes one sound, and `clips` says how many a longer recording gives.
    """
    return replace(spec.audio(mels, frames), settings={"rate": rate, "clips": 1.0, "repeat": 1.0})


def depth(size: int, far: float) -> Modality:
    """Distance (n, 1, size, size) as a share of `far_m` metres, beyond which everything is as far."""
    tensor = TensorSpec("x", (1, size, size), "float32", "chw", (0.0, 1.0), "share of the farthest distance")
    return Modality("depth", tensor, "range", 16, {"far_m": far})
