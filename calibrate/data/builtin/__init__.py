"""Data for bindlite: excerpts of two public data sets, and synthetic scenes for the other sensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from advcal_edge.calibrate.data.builtin.datasets import (
    ACTIVITIES,
    CLOTHES,
    WINDOWS_PER_RECORDING,
    basic_motions,
    fashion_mnist,
)
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
TUNING_SEED, REPORT_SEED = 2, 3  # of held-out scenes: defaults were chosen on the first, figures are of the second
TUNING_SHARE = 2, 5  # of the test images, and of the test recordings
SCENES_HELD_OUT = 400  # video takes 30 ms per scene to render, and every other sensor is paired with it


def builtin_samples(
    encoder: Encoder, train: int, held_out: int, *, pairs: bool, tuning: bool
) -> tuple[Samples, Samples]:
    """Samples for training, of which `train` will be used, and held-out samples, at least `held_out` if there are.

    With `pairs` those for training have partners too. With `tuning` the held-out samples are those on which the
    defaults of this program were chosen; else no choice was made on them.

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
        return fashion_mnist("train"), _part(fashion_mnist("test"), 1, tuning)
    if modality == "imu":
        return basic_motions("train"), _part(basic_motions("test"), WINDOWS_PER_RECORDING, tuning)
    training = _paired_scenes(modality, SCENES_SEED, train) if pairs else scene_samples(modality, SCENES_SEED, train)
    seed = TUNING_SEED if tuning else REPORT_SEED
    return training, _paired_scenes(modality, seed, max(held_out, SCENES_HELD_OUT))


def _part(samples: Samples, together: int, tuning: bool) -> Samples:
    """The share on which choices were made, or the rest; `together` neighbours stay on one side."""
    chosen, of = TUNING_SHARE
    first = np.arange(len(samples)) // together % of < chosen
    part = samples.take(np.flatnonzero(first if tuning else ~first))
    return replace(part, source=f"{samples.source}, {'tuning' if tuning else 'report'} part")


def _paired_scenes(modality: str, seed: int, count: int) -> Samples:
    """Scenes, each with the frame of the partner's sensor."""
    partners = scene_samples(PARTNER[modality], seed, count).frames
    return replace(scene_samples(modality, seed, count), partners=partners, partner=PARTNER[modality])
