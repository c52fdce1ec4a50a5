"""The samples of one calibration: the user's, or those of the encoder; preprocessed, in fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from advcal_edge.calibrate.adapters import AdaptedModule, embed_all
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.data.builtin import builtin_samples
from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.data.inputs import Inputs, Streamed, make_inputs
from advcal_edge.calibrate.data.layouts.draw import load_layout
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.split import arrays_sha256, split, stratified_order
from advcal_edge.encoders.base import Encoder, open_encoder
from advcal_edge.probe import Probe
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import Modality

HELD_OUT = 1000  # maximum number of samples in a bundle for attacks
CALIBRATION = 128  # training samples in a bundle for quantisers


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Inputs by row, their class indices y (n,), and the embeddings (n, d) of their partners, where wanted."""

    inputs: Inputs
    y: NDArray[np.int64]
    partner: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.y)

    def head(self, n: int) -> Probe:
        """The first `n` samples."""
        rows = torch.arange(min(n, len(self)))
        return Probe(self.inputs.load(rows).numpy(), self.y[: len(rows)])


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Preprocessed samples, both parts shuffled over the classes; `names` are the labels that occur."""

    train: TrainingData
    held_out: Probe
    names: tuple[str, ...]
    origin: Mapping[str, Any]

    def to_json(self, train_sha256: str) -> dict[str, Any]:
        """Plain types for the manifest; `train_sha256` is the hash of the training inputs."""
        return {
            **self.origin,
            "train": len(self.train),
            "held_out": len(self.held_out),
            "calibration": min(CALIBRATION, len(self.train)),
            "train_sha256": train_sha256,
            "held_out_sha256": arrays_sha256(self.held_out.x, self.held_out.y),
        }


def load_dataset(config: CalibrateConfig, encoder: Encoder, known: tuple[str, ...] | None) -> Dataset:
    """Read, split, draw and preprocess the samples of `config.data`; `known` are the labels that have a center.

    If frames have partners, those held out are embedded by the same encoder's frozen trunk for their sensor.

    Raises:
        ConfigError: the encoder has no samples and none are given, or it has no trunk for the partners.
        InputError: the data set cannot be used.
    """
    skipped, modality = 0, encoder.modality
    published: dict[str, Any] = {}
    if config.data.path is not None:
        other = open_encoder(config.encoder, config.data.pairs, weights_of(config)) if config.data.pairs else None
        pairs = None if other is None else other.modality
    if config.data.layout is not None:
        sizes = {"train": config.train.samples, "held_out": HELD_OUT}
        found = load_layout(config.data, modality, known, pairs, **sizes, seed=config.seed)
        train, held_out, skipped = found.train, found.held_out, found.skipped
        published = {"layout": config.data.layout, "copies": found.copies}
    elif config.data.path is not None:
        loaded = load_folder(Path(config.data.path), modality, known, pairs, skip_bad=config.data.skip_bad)
        train, held_out = split(loaded.samples, config.data.held_out, 0, digests=loaded.digests)
        skipped = loaded.skipped
        published = {"left_out": dict(loaded.left_out)} if loaded.left_out else {}
    else:
        train, held_out = builtin_samples(
            encoder,
            config.train.samples,
            config.evaluate.samples,
            pairs="partner" in config.objective.terms,
            tuning=config.data.tuning,
        )
    origin = {
        "source": train.source if train.source == held_out.source else f"{train.source}; {held_out.source}",
        "license": train.license,
        "skipped": skipped,
        "partner": held_out.partner,
        **published,
    }
    train = drawn(train, config.train.samples, config.seed)
    held_out = drawn(held_out, HELD_OUT, 0)  # the same order for every training seed
    partner = _partner_embeddings(config, train) if "partner" in config.objective.terms else None
    return Dataset(
        TrainingData(make_inputs(train, modality, config.data.memory), train.labels.astype(np.int64), partner),
        _probe(held_out, modality, _partner_embeddings(config, held_out)),
        train.names,
        origin,
    )


def weights_of(config: CalibrateConfig) -> Path | None:
    """Path of the encoder's weights, unless they are in the package."""
    return None if config.weights is None else Path(config.weights)


def drawn(samples: Samples, limit: int, seed: int) -> Samples:
    """At most `limit` samples, shuffled over the classes."""
    return samples.take(stratified_order(samples.labels, seed)[:limit])


def _partner_embeddings(config: CalibrateConfig, samples: Samples) -> NDArray[np.float32] | None:
    """Unit-norm embeddings (n, d) of the partners by the frozen trunk of their own sensor."""
    if samples.partners is None or samples.partner is None:
        return None
    encoder = open_encoder(config.encoder, samples.partner, weights_of(config))
    x = torch.from_numpy(preprocess(encoder.modality, samples.partners))
    embeddings: NDArray[np.float32] = embed_all(AdaptedModule(encoder.module()), x).numpy()
    return embeddings


def _probe(samples: Samples, modality: Modality, partner: NDArray[np.float32] | None) -> Probe:
    x = Streamed(samples, modality).load(torch.arange(len(samples)))
    return Probe(x.numpy(), samples.labels.astype(np.int64), partner)
