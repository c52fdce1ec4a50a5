"""Data for bindlite: excerpts of two public data sets, and synthetic scenes for the other sensors."""

from __future__ import annotations

from dataclasses import replace

from advcal_edge.calibrate.data.builtin.datasets import ACTIVITIES, CLOTHES, basic_motions, fashion_mnist
from advcal_edge.calibrate.data.builtin.objects import OBJECT_NAMES
from advcal_edge.calibrate.data.builtin.rendering import scene_samples
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.bindlite import PARTNER
from advcal_edge.errors import ConfigError

__all__ = [
    "ACTIVITIES",
    "CLOTHES",
    "OBJECT_NAMES",
    "basic_motions",
    "builtin_samples",
    "fashion_mnist",
    "scene_samples",
]

SCENES_SEED = 1  # independent of `--seed`, so that training seeds are compared on the same data
SCENES_HELD_OUT = 400  # video takes 30 ms per scene to render, and every other sensor is paired with it


def builtin_samples(encoder: Encoder, train: int) -> tuple[Samples, Samples]:
    """Samples for training, of which `train` will be used, and held-out samples.

    Raises:
        ConfigError: this encoder has no built-in samples.
    """
    modality = encoder.modality.name
    if encoder.name != "bindlite":
        raise ConfigError(
            f"the encoder `{encoder.name}` brings no samples of the modality `{modality}`",
            hint="give a folder with one folder a class: `--data DIR`",
        )
    if modality == "image":
        return fashion_mnist("train"), fashion_mnist("test")
    if modality == "imu":
        return basic_motions("train"), basic_motions("test")
    return scene_samples(modality, SCENES_SEED, train), _held_out_scenes(modality)


def _held_out_scenes(modality: str) -> Samples:
    """Scenes that are not used for training, each with the frame of the partner's sensor."""
    held_out = scene_samples(modality, SCENES_SEED + 1, SCENES_HELD_OUT)
    partners = scene_samples(PARTNER[modality], SCENES_SEED + 1, SCENES_HELD_OUT).frames
    return replace(held_out, partners=partners, partner=PARTNER[modality])
