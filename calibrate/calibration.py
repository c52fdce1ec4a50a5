"""The whole calibration in one call: data, training, figures, bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advcal_edge import __version__
from advcal_edge.bundle import Bundle, check_destination
from advcal_edge.calibrate.adapters import AdaptedModule, Adapter, attach_adapter, trainable
from advcal_edge.calibrate.batches import embed_all
from advcal_edge.calibrate.checkpoint import Checkpoint, reserved
from advcal_edge.calibrate.class_means import class_means
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.crafting import AdaptiveCrafter, Crafter, StaticCrafter, craft_once
from advcal_edge.calibrate.data.source import CALIBRATION, Dataset, load_dataset, weights_of
from advcal_edge.calibrate.deploy import deploy_module
from advcal_edge.calibrate.metrics import ResultTable, measure
from advcal_edge.calibrate.objectives import Total
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.calibrate.trainer import Material, train
from advcal_edge.centers import Centers
from advcal_edge.commands import command
from advcal_edge.encoders.base import Encoder, fit_sensor, open_encoder
from advcal_edge.errors import ConfigError
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """What came out: the bundle on disk, its figures, how much was trained and how long it took."""

    bundle: Bundle
    table: ResultTable
    trainable_fraction: float
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "bundle": str(self.bundle.path),
            "adapter": dict(self.bundle.section("adapter")),
            "trainable_fraction": self.trainable_fraction,
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

    `opened` is told the encoder before anything is done with it: its license is the user's business.

    Raises:
        ConfigError: unknown encoder, modality or part, or nothing to resume.
        InputError: data or weights that cannot be used.
        BundleInUseError: another process calibrates to the same destination.
        BundleError: the destination cannot be written or is no bundle, or the centers are no such file.
    """
    out = Path(config.out)
    check_destination(out)
    with reserved(out):
        return _calibrate(config, out, progress, resume, opened)


def _calibrate(
    config: CalibrateConfig, out: Path, progress: Progress, resume: bool, opened: Callable[[Encoder], None]
) -> CalibrationResult:
    """Calibrate as the only one who writes `out`."""
    started = time.perf_counter()
    encoder = fit_sensor(open_encoder(config.encoder, config.modality, weights_of(config)), config.input)
    opened(encoder)
    spec = encoder.modality.input
    threat = ThreatModel("linf", config.threat.eps, spec.bounds)
    given = encoder.centers() if config.centers is None else Centers.load(Path(config.centers))
    if given is not None and given.dim != encoder.embedding_dim:
        raise ConfigError(
            f"the centers are {given.dim} wide; `{config.encoder}` embeds to {encoder.embedding_dim} numbers",
            hint="make them with the same encoder: "
            + command("centers", "--encoder", config.encoder, "--weights", "PATH", "--labels", "FILE", "--out", "FILE"),
        )
    data = load_dataset(config, encoder, None if given is None else given.labels)
    centers = class_means(encoder, data.train, data.names) if given is None else given.subset(data.names)
    checkpoint = Checkpoint.beside(out, _identity(config, encoder, data))

    model = attach_adapter(encoder.module(), config.adapter, encoder.embedding_dim, config.seed)
    if trainable(model):
        _fit(model, config, spec, centers, threat, data, checkpoint, resume, progress)
    adapter = Adapter.of(model, config.adapter, encoder.embedding_dim)
    trained = time.perf_counter()

    before = TorchRunner(AdaptedModule(encoder.module()), spec)
    after = TorchRunner(deploy_module(encoder.module(), adapter), spec)
    probe = data.held_out.head(config.evaluate.samples)
    table = measure(before, after, centers, probe, threat, config.evaluate, seed=config.seed, progress=progress)

    bundle = Bundle.create(
        out,
        _manifest(config, encoder, threat, adapter, centers, data, table),
        {
            "adapter.safetensors": adapter.to_bytes(),
            "centers.safetensors": centers.to_bytes(),
            "probe.npz": data.held_out.to_bytes(spec),
            "calibration.npz": data.train.head(CALIBRATION).to_bytes(spec),
        },
    )
    checkpoint.remove()
    finished = time.perf_counter()
    seconds = {"train": trained - started, "evaluate": finished - trained, "total": finished - started}
    return CalibrationResult(bundle, table, adapter.trainable_fraction, seconds)


def _fit(
    model: AdaptedModule,
    config: CalibrateConfig,
    spec: TensorSpec,
    centers: Centers,
    threat: ThreatModel,
    data: Dataset,
    checkpoint: Checkpoint,
    resume: bool,
    progress: Progress,
) -> None:
    """Train `model` in place; a head alone, against a static adversary, sees cached features instead of inputs."""
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(data.train.y)
    anchor = embed_all(model, x)  # every adapter starts as the identity: this is the frozen encoder
    embed: Callable[[Tensor], Tensor] = model
    epochs = config.train.epochs
    crafter: Crafter
    if config.threat.kind == "adaptive":
        crafter = AdaptiveCrafter.build(config, model, spec, centers, threat)
    else:
        attacked = craft_once(config, model, spec, centers, threat, data.train, progress)
        if config.adapter.parts == ("head",):
            x, attacked = embed_all(model.trunk, x), embed_all(model.trunk, attacked)
            embed, epochs = model.readout, config.train.cached_epochs
        crafter = StaticCrafter(attacked)
    train(
        embed,
        trainable(model),
        Material(x, y, anchor),
        crafter,
        Total(config.objective, centers),
        config.train,
        epochs=epochs,
        seed=config.seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )


def _identity(config: CalibrateConfig, encoder: Encoder, data: Dataset) -> dict[str, Any]:
    """What a run and its resumption must share: the settings that training reads, the data and the weights."""
    settings = asdict(config)
    for name in ("out", "evaluate", "weights"):
        del settings[name]
    return {
        **settings,
        "data": {**settings["data"], "train_sha256": data.to_json()["train_sha256"]},
        "weights_sha256": encoder.fingerprint,
    }


def _manifest(
    config: CalibrateConfig,
    encoder: Encoder,
    threat: ThreatModel,
    adapter: Adapter,
    centers: Centers,
    data: Dataset,
    table: ResultTable,
) -> dict[str, Any]:
    """The sections that describe the bundle; `Bundle` adds schema and files."""
    return {
        "tool": {"version": __version__},
        "encoder": {
            "name": config.encoder,
            "modality": encoder.modality.name,
            "weights": config.weights,
            "weights_sha256": encoder.fingerprint,
            "license": encoder.license,
            "metadata": dict(encoder.metadata),
        },
        "modality": encoder.modality.to_json(),
        "threat": threat.to_json(),
        "adapter": {
            "kind": adapter.kind,
            "config": asdict(adapter.config),
            "parameters": adapter.parameters,
            "trainable_fraction": adapter.trainable_fraction,
        },
        "centers": {"labels": list(centers.labels), "source": centers.source, "temperature": centers.temperature},
        "data": data.to_json(),
        "config": asdict(config),
        "seed": config.seed,
        "metrics": table.to_json(),
        "environment": environment(),
    }
