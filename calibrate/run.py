"""The whole calibration in one call: data, training, evaluation, bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advcal_edge.bundle import Bundle, check_destination
from advcal_edge.calibrate.adapters import AdaptedModule, Adapter, CleanInputs, attach_parts, embed_all, trainable
from advcal_edge.calibrate.checkpoint import Checkpoint, reserved
from advcal_edge.calibrate.config import CalibrateConfig, ThreatConfig
from advcal_edge.calibrate.data.source import CALIBRATION, Dataset, load_dataset, weights_of
from advcal_edge.calibrate.deploy import deploy_module
from advcal_edge.calibrate.evaluate import ResultTable, measure
from advcal_edge.calibrate.objectives import Total
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.calibrate.train import AdaptiveCrafter, Crafter, StaticCrafter, TrainingSet, craft_once, train
from advcal_edge.centers import Centers
from advcal_edge.commands import command
from advcal_edge.encoders.base import Encoder, fit_sensor, open_encoder
from advcal_edge.encoders.check import check_module, checked_centers
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.probe import Probe
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment, package_version
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel

TEMPERATURE = 0.07  # without a text tower: the initial value of CLIP and ImageBind


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """The bundle on disk, its measurements, the number of trained parameters and the duration."""

    bundle: Bundle
    table: ResultTable
    trainable_fraction: float
    estimated_fraction: float
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "bundle": str(self.bundle.path),
            "adapter": dict(self.bundle.section("adapter")),
            "trainable_fraction": self.trainable_fraction,
            "estimated_fraction": self.estimated_fraction,
            "metrics": self.table.to_json(),
            "seconds": dict(self.seconds),
        }


def calibrate(
    config: CalibrateConfig,
    progress: Progress = silent,
    *,
    resume: bool = False,
    opened: Callable[[Encoder], None] = lambda encoder: None,
) -> CalibrationResult:
    """Train an adapter for a frozen encoder, measure both, and write the bundle `config.out`.

    `opened` is called with the encoder before any work, for example to show its license.

    >>> from advcal_edge import calibrate, configure
    >>> quick = {"samples": 8, "steps": 2, "queries": 5}
    >>> result = calibrate(configure(modality="imu", out="B", train={"samples": 64, "epochs": 1}, evaluate=quick))
    >>> result.bundle.has("adapter.safetensors")
    True

    Raises:
        ConfigError: unknown encoder, modality or part, or nothing to resume.
        InputError: data or weights that cannot be used.
        BundleInUseError: another process calibrates to the same destination.
        BundleError: the destination cannot be written or is not a bundle, or the centers file is invalid.
    """
    out = Path(config.out)
    check_destination(out)
    with reserved(out):
        return _calibrate(config, out, progress, resume, opened)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Inputs of training and evaluation."""

    config: CalibrateConfig
    encoder: Encoder
    threat: ThreatModel
    centers: Centers
    data: Dataset

    @property
    def spec(self) -> TensorSpec:
        return self.encoder.modality.input


def _calibrate(
    config: CalibrateConfig, out: Path, progress: Progress, resume: bool, opened: Callable[[Encoder], None]
) -> CalibrationResult:
    """Calibrate as the only process that writes `out`."""
    started = time.perf_counter()
    task = _prepare(config, opened)
    checkpoint = Checkpoint.beside(out, _identity(task))
    adapter = _train(task, checkpoint, resume, progress)
    trained = time.perf_counter()
    table = _evaluate(task, adapter, progress)
    bundle = Bundle.create(
        out,
        _manifest(task, adapter, table),
        {
            "adapter.safetensors": adapter.to_bytes(),
            "centers.safetensors": task.centers.to_bytes(),
            "probe.npz": task.data.held_out.to_bytes(task.spec),
            "calibration.npz": task.data.train.head(CALIBRATION).to_bytes(task.spec),
        },
    )
    checkpoint.remove()
    finished = time.perf_counter()
    seconds = {"train": trained - started, "evaluate": finished - trained, "total": finished - started}
    return CalibrationResult(bundle, table, adapter.trainable_fraction, adapter.estimated_fraction, seconds)


def _prepare(config: CalibrateConfig, opened: Callable[[Encoder], None]) -> _Task:
    """Open the encoder, read the data, and choose or compute the centers."""
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
    check_module(encoder, torch.from_numpy(data.train.x[:2]))
    centers = class_means(encoder, data.train, data.names) if given is None else given.subset(data.names)
    return _Task(config, encoder, threat, centers, data)


def _train(task: _Task, checkpoint: Checkpoint, resume: bool, progress: Progress) -> Adapter:
    """Train the adapter; a head alone, against static attacks, trains on cached features instead of inputs."""
    config, encoder = task.config, task.encoder
    model = AdaptedModule(encoder.module())
    x, y = torch.from_numpy(task.data.train.x), torch.from_numpy(task.data.train.y)
    partner = None if task.data.train.partner is None else torch.from_numpy(task.data.train.partner)
    anchor = embed_all(model, x)
    mirrored = embed_all(lambda part: model(part.flip(-1)), x) if config.train.mirror else None
    radius = task.threat.with_norm("linf", task.spec.shape).radius
    attach_parts(model, config.adapter, encoder.embedding_dim, config.seed, CleanInputs(x, radius))
    if not trainable(model):
        return Adapter.of(model, config.adapter, encoder.embedding_dim)
    embed: Callable[[Tensor], Tensor] = model
    epochs = config.train.epochs
    crafter: Crafter
    if config.craft.kind == "adaptive":
        crafter = AdaptiveCrafter.build(config, model, task.spec, task.centers, task.threat)
    else:
        attacked = craft_once(config, model, task.spec, task.centers, task.threat, task.data.train, progress)
        if config.adapter.parts == ("head",):
            x, attacked = embed_all(model.trunk, x), embed_all(model.trunk, attacked)
            embed, epochs = model.readout, config.train.cached_epochs
        crafter = StaticCrafter(attacked)
    train(
        embed,
        trainable(model),
        TrainingSet(x, y, anchor, mirrored, partner),
        crafter,
        Total(config.objective, task.centers),
        config.train,
        epochs=epochs,
        seed=config.seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )
    return Adapter.of(model, config.adapter, encoder.embedding_dim)


def _evaluate(task: _Task, adapter: Adapter, progress: Progress) -> ResultTable:
    """Attack the encoder without and with the adapter."""
    config, encoder = task.config, task.encoder
    before = TorchRunner(AdaptedModule(encoder.module()), task.spec)
    after = TorchRunner(deploy_module(encoder.module(), adapter), task.spec)
    probe = task.data.held_out.head(config.evaluate.samples)
    return measure(
        before, after, task.centers, probe, task.threat, config.evaluate, seed=config.seed, progress=progress
    )


def _identity(task: _Task) -> dict[str, Any]:
    """Settings that must be equal for a run and its resumption: those of training, the data and the weights."""
    settings = asdict(task.config)
    for name in ("out", "evaluate", "weights"):
        del settings[name]
    return {
        **settings,
        "data": {**settings["data"], "train_sha256": task.data.to_json()["train_sha256"]},
        "weights_sha256": task.encoder.fingerprint,
    }


def _manifest(task: _Task, adapter: Adapter, table: ResultTable) -> dict[str, Any]:
    """The sections that describe the bundle; `Bundle` adds schema and files."""
    config, encoder, centers = task.config, task.encoder, task.centers
    return {
        "tool": {"version": package_version("advcal-edge")},
        "encoder": {
            "name": config.encoder,
            "modality": encoder.modality.name,
            "weights": config.weights,
            "weights_sha256": encoder.fingerprint,
            "license": encoder.license,
            "metadata": dict(encoder.metadata),
        },
        "modality": encoder.modality.to_json(),
        "threat": task.threat.to_json(),
        "adapter": {
            "kind": adapter.kind,
            "config": asdict(adapter.config),
            "parameters": adapter.parameters,
            "trainable_fraction": adapter.trainable_fraction,
            "estimated": adapter.estimated,
            "estimated_fraction": adapter.estimated_fraction,
        },
        "centers": {"labels": list(centers.labels), "source": centers.source, "temperature": centers.temperature},
        "data": task.data.to_json(),
        "config": asdict(config),
        "seed": config.seed,
        "metrics": table.to_json(),
        "environment": environment(),
    }


def class_means(encoder: Encoder, samples: Probe, names: tuple[str, ...]) -> Centers:
    """Unit-norm means (k, d) of the unit-norm embeddings of each class.

    Raises:
        InputError: a class whose embeddings cancel out or are not finite.
    """
    z = embed_all(AdaptedModule(encoder.module()), torch.from_numpy(samples.x)).numpy()
    means = np.stack([z[samples.y == label].mean(axis=0) for label in range(len(names))])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    for name, norm in zip(names, norms[:, 0], strict=True):
        if not norm > 1e-6:
            raise InputError(f"the embeddings of the class `{name}` have a mean of norm {norm:g}; expected above zero")
    vectors = (means / norms).astype(np.float32)
    return Centers(names, vectors, TEMPERATURE, f"class means of {len(samples)} training samples")
