"""The samples that come with an encoder, where it brings some: bindlite's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from advcal_edge.calibrate.data.basic_motions import basic_motions
from advcal_edge.calibrate.data.fashion_mnist import fashion_mnist
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.scenes import scene_samples
from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.bindlite import PARTNER
from advcal_edge.errors import ConfigError

SCENES_SEED = 1  # scenes do not follow `--seed`: two seeds of training compare on the same data
SCENES_HELD_OUT = 400  # video takes 30 ms a scene to render, and every other sensor is paired with it

Split = tuple[Samples, Samples]


def own_samples(encoder: Encoder, train: int) -> Split:
    """Samples to train on, of which `train` will be used, and samples held out.

    Raises:
        ConfigError: this encoder brings none.
    """
    if encoder.name != "bindlite":
        raise ConfigError(
            f"the encoder `{encoder.name}` brings no samples of the modality `{encoder.modality.name}`",
            hint="give a folder with one folder a class: `--data DIR`",
        )
    real: Mapping[str, Callable[[], Split]] = {"image": _clothes, "imu": _motions}
    modality = encoder.modality.name
    return real[modality]() if modality in real else _scenes(modality, train)


def _clothes() -> Split:
    return fashion_mnist("train"), fashion_mnist("test")


def _motions() -> Split:
    return basic_motions("train"), basic_motions("test")


def _scenes(modality: str, train: int) -> Split:
    """Held-out scenes come with what the partner's sensor saw of them."""
    held_out = scene_samples(modality, SCENES_SEED + 1, SCENES_HELD_OUT)
    partner = scene_samples(PARTNER[modality], SCENES_SEED + 1, SCENES_HELD_OUT)
    paired = replace(held_out, partners=partner.frames, partner=PARTNER[modality])
    return scene_samples(modality, SCENES_SEED, train), paired
