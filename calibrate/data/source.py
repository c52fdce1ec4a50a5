"""The samples of one calibration: the user's, or those that come with the encoder; preprocessed, in fixed order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.data.fashion_mnist import fashion_mnist
from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.split import arrays_sha256, split, stratified_order
from advcal_edge.calibrate.data.thermal_scenes import thermal_scenes
from advcal_edge.encoders.base import Encoder
from advcal_edge.errors import ConfigError
from advcal_edge.probe import Probe
from advcal_edge.runtime.preprocess import preprocess
from advcal_edge.spec import Modality

HELD_OUT = 1000  # samples at most that a bundle keeps to be attacked
CALIBRATION = 128  # training samples that a bundle keeps for quantisers
SCENES_SEED = 1  # scenes do not follow `--seed`: two seeds of training compare on the same data


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Preprocessed samples, both parts shuffled over the classes; `names` are the labels that occur."""

    train: Probe
    held_out: Probe
    names: tuple[str, ...]
    origin: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return {
            **self.origin,
            "train": len(self.train),
            "held_out": len(self.held_out),
            "calibration": min(CALIBRATION, len(self.train)),
            "train_sha256": arrays_sha256(self.train.x, self.train.y),
            "held_out_sha256": arrays_sha256(self.held_out.x, self.held_out.y),
        }


def load_dataset(config: CalibrateConfig, encoder: Encoder, known: tuple[str, ...]) -> Dataset:
    """Read, split, draw and preprocess what `config.data` asks for; `known` are the labels that have a center.

    Raises:
        ConfigError: the encoder brings no samples and none are given.
        InputError: the data set cannot be used.
    """
    skipped = 0
    if config.data.path is not None:
        loaded = load_folder(Path(config.data.path), encoder.modality, known, skip_bad=config.data.skip_bad)
        train, held_out = split(loaded.samples, config.data.held_out, 0)
        skipped = loaded.skipped
    else:
        train, held_out = _bundled(encoder)(config.train.samples)
    origin = {
        "source": train.source if train.source == held_out.source else f"{train.source}; {held_out.source}",
        "license": train.license,
        "skipped": skipped,
    }
    return Dataset(
        _probe(train, encoder.modality, config.train.samples, config.seed),
        _probe(held_out, encoder.modality, HELD_OUT, 0),  # the same order for every seed of training
        train.names,
        origin,
    )


def _bundled(encoder: Encoder) -> Callable[[int], tuple[Samples, Samples]]:
    table = {("bindlite", "image"): _fashion, ("bindlite", "thermal"): _scenes}
    key = (encoder.name, encoder.modality.name)
    if key not in table:
        raise ConfigError(
            f"the encoder `{encoder.name}` brings no samples of the modality `{encoder.modality.name}`",
            hint="give a folder with one folder a class: `--data DIR`",
        )
    return table[key]


def _fashion(samples: int) -> tuple[Samples, Samples]:
    return fashion_mnist("train"), fashion_mnist("test")


def _scenes(samples: int) -> tuple[Samples, Samples]:
    return thermal_scenes(SCENES_SEED, samples), thermal_scenes(SCENES_SEED + 1, HELD_OUT)


def _probe(samples: Samples, modality: Modality, limit: int, seed: int) -> Probe:
    """At most `limit` samples, shuffled over the classes."""
    rows = stratified_order(samples.labels, seed)[:limit]
    chosen = samples.take(rows)
    return Probe(preprocess(modality, chosen.frames), chosen.labels.astype(np.int64))
