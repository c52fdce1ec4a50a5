"""What a calibration starts from: encoder, data, centers, and the frozen embeddings of the training inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.anchors import Anchors, compute_anchors
from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.config import CalibrateConfig, ThreatConfig
from advcal_edge.calibrate.data.source import Dataset, load_dataset, weights_of
from advcal_edge.calibrate.processes import Processes
from advcal_edge.centers import Centers, class_means
from advcal_edge.commands import command
from advcal_edge.encoders.base import Encoder, fit_sensor, open_encoder
from advcal_edge.encoders.check import check_module, checked_centers
from advcal_edge.errors import ConfigError
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What training and evaluation start from."""

    config: CalibrateConfig
    encoder: Encoder
    module: AdaptedModule
    """The frozen encoder on the device, until the training takes it."""
    threat: ThreatModel
    centers: Centers
    data: Dataset
    anchors: Anchors
    device: torch.device

    @property
    def spec(self) -> TensorSpec:
        """The encoder's input."""
        return self.encoder.modality.input

    def identity(self) -> dict[str, Any]:
        """Settings that must be equal for a run and its resumption: those of training, the data and the weights."""
        settings = asdict(self.config)
        for name in ("out", "evaluate", "weights", "device"):
            del settings[name]
        for name in ("memory", "workers"):
            del settings["data"][name]
        return {
            **settings,
            "data": {**settings["data"], "train_sha256": self.anchors.sha256},
            "weights_sha256": self.encoder.fingerprint,
        }


def prepare_task(config: CalibrateConfig, compute: Compute, opened: Callable[[Encoder], None]) -> Task:
    """Open the encoder, read the data, embed it, and choose or compute the centers.

    Raises:
        ConfigError: unknown encoder or modality, centers of another width, or more processes than parts of a batch.
        InputError: data or weights that cannot be used.
        BundleError: the centers' file is invalid.
    """
    encoder = fit_sensor(open_encoder(config.encoder, config.modality, weights_of(config)), config.input)
    opened(encoder)
    threat = config.threat_model(encoder.modality.input)
    config = replace(config, threat=ThreatConfig(threat.norm, threat.eps))
    given = checked_centers(encoder) if config.centers is None else Centers.load(Path(config.centers))
    if given is not None and given.dim != encoder.embedding_dim:
        raise ConfigError(
            f"the centers are {given.dim} wide; `{config.encoder}` embeds to {encoder.embedding_dim} numbers",
            hint="make them with the same encoder: "
            + command("centers", "--encoder", config.encoder, "--weights", "PATH", "--labels", "FILE", "--out", "FILE"),
        )
    data = load_dataset(config, encoder, None if given is None else given.labels)
    _check_parts(config, len(data.train), compute.processes)
    module = check_module(encoder, data.train.inputs.load(torch.arange(2)).to(compute.device))
    model = AdaptedModule(module)
    anchors = compute_anchors(model, data.train.inputs, compute, config.data.workers, mirror=config.train.mirror)
    centers = class_means(anchors.z.numpy(), data.train.y, data.names) if given is None else given.subset(data.names)
    return Task(config, encoder, model, threat, centers, data, anchors, compute.device)


def _check_parts(config: CalibrateConfig, samples: int, processes: Processes) -> None:
    size, parts = config.train.batch_of(samples)
    if processes.count > parts:
        raise ConfigError(
            f"{processes.count} processes have nothing to share: a batch of {size} has {parts} parts;"
            " expected at least one for each process",
            hint=f"`--set train.parts={processes.count}`"
            if processes.count <= size
            else f"start at most {size} processes, or raise `train.batch`",
        )
