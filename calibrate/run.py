"""The whole calibration in one call: data, training, evaluation, bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle, check_destination
from advcal_edge.calibrate.acceleration import accelerate
from advcal_edge.calibrate.adapters import AdaptedModule, Adapter, CleanInputs, attach_parts, trainable
from advcal_edge.calibrate.adapters.stem_filter import SAMPLES as FILTER_SAMPLES
from advcal_edge.calibrate.anchors import over_blocks
from advcal_edge.calibrate.checkpoint import Checkpoint, reserved
from advcal_edge.calibrate.compute import Compute, choose_device, computing, device_name
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.craft import AdaptiveCrafter, Crafter, StaticCrafter, craft_once
from advcal_edge.calibrate.data.inputs import Kept
from advcal_edge.calibrate.data.source import CALIBRATION
from advcal_edge.calibrate.deploy import deploy_module, runner_on
from advcal_edge.calibrate.evaluate import ResultTable, measure
from advcal_edge.calibrate.memory import check_memory, estimate_memory, free_memory
from advcal_edge.calibrate.objectives import Total
from advcal_edge.calibrate.processes import ALONE, Processes
from advcal_edge.calibrate.task import Task, prepare_task
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.calibrate.train import TrainingSet, train
from advcal_edge.encoders.base import Encoder
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment, package_version


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


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks of one calibration."""

    progress: Progress = silent
    opened: Callable[[Encoder], None] = lambda encoder: None
    """Called with the encoder before any work, for example to show its license."""
    measured: Callable[[int, int], None] = lambda needed, free: None
    """On a GPU, called with the bytes that a part of a batch needs, about, and those that are free."""


def calibrate(config: CalibrateConfig, watch: Watch = Watch(), *, resume: bool = False) -> CalibrationResult:
    """Train an adapter for a frozen encoder, measure both, and write the bundle `config.out`.

    >>> from advcal_edge import calibrate, configure
    >>> quick = {"samples": 8, "steps": 2, "queries": 5}
    >>> result = calibrate(configure(modality="imu", out="B", train={"samples": 64, "epochs": 1}, evaluate=quick))
    >>> result.bundle.has("adapter.safetensors")
    True

    Raises:
        ConfigError: unknown encoder, modality or part, a device that is not there or too small, or nothing to resume.
        InputError: data or weights that cannot be used.
        BundleInUseError: another process calibrates to the same destination.
        BundleError: the destination cannot be written or is not a bundle, or the centers file is invalid.
    """
    result = calibrate_together(config, ALONE, watch, resume=resume)
    assert result is not None  # noqa: S101, the first process has one
    return result


def calibrate_together(
    config: CalibrateConfig,
    processes: Processes,
    watch: Watch = Watch(),
    *,
    resume: bool = False,
) -> CalibrationResult | None:
    """The same by several processes, each of which calls this; the first alone writes, and has a result.

    Raises:
        ConfigError: also if there are more processes than parts of a batch.
        InputError, BundleInUseError, BundleError: as for `calibrate`.
    """
    device = choose_device(config.device, processes)
    out = Path(config.out)
    if not processes.first:
        _calibrate(config, processes, device, watch, resume)
        return None
    check_destination(out)
    with reserved(out):
        started = time.perf_counter()
        work = _calibrate(config, processes, device, watch, resume)
        bundle = Bundle.create(
            out,
            _manifest(work),
            {
                "adapter.safetensors": work.adapter.to_bytes(),
                "centers.safetensors": work.task.centers.to_bytes(),
                "probe.npz": work.task.data.held_out.to_bytes(work.task.spec),
                ANCHOR: anchor_bytes(work.anchor),
                "calibration.npz": work.task.data.train.head(CALIBRATION).to_bytes(work.task.spec),
            },
        )
        work.checkpoint.remove()
    seconds = {**work.seconds, "total": time.perf_counter() - started}
    return CalibrationResult(
        bundle, work.table, work.adapter.trainable_fraction, work.adapter.estimated_fraction, seconds
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """All that a bundle is made of."""

    task: Task
    adapter: Adapter
    table: ResultTable
    anchor: NDArray[np.float32]
    """Embeddings (n, d) of all held-out samples by the calibrated model."""
    checkpoint: Checkpoint
    seconds: Mapping[str, float]


def _calibrate(
    config: CalibrateConfig, processes: Processes, device: torch.device, watch: Watch, resume: bool
) -> _Work:
    """Prepare, train and evaluate; nothing but the state of the training is written, by the first process."""
    started = time.perf_counter()
    cores = 1 if config.train.compile else None  # the compiler serves one thread at a time
    with computing(device, processes, cores) as compute:
        task = prepare_task(config, compute, watch.opened)
        checkpoint = Checkpoint.beside(Path(config.out), task.identity())
        adapter = _train(task, compute, checkpoint, resume, watch)
    trained = time.perf_counter()
    after = runner_on(device, deploy_module(task.encoder.module(), adapter), task.spec)
    table = _evaluate(task, after, processes, watch.progress)
    with computing(device, processes, cores) as compute:
        anchor = _embed_probe(task, after, compute)
    seconds = {"train": trained - started, "evaluate": time.perf_counter() - trained}
    return _Work(task, adapter, table, anchor, checkpoint, seconds)


def _train(task: Task, compute: Compute, checkpoint: Checkpoint, resume: bool, watch: Watch) -> Adapter:
    """Train the adapter; a head alone, against static attacks, trains on cached features instead of inputs."""
    config, encoder, model, inputs = task.config, task.encoder, task.module, task.data.train.inputs
    radius = task.threat.with_norm("linf", task.spec.shape).radius
    clean = CleanInputs(inputs.load(torch.arange(min(FILTER_SAMPLES, len(inputs)))), radius)
    attach_parts(model, config.adapter, encoder.embedding_dim, config.seed, clean).to(compute.device)
    parameters = trainable(model)
    if not parameters:
        return Adapter.of(model, config.adapter, encoder.embedding_dim)
    y, partner = torch.from_numpy(task.data.train.y), task.data.train.partner
    _check_memory(task, model, watch)
    fast = accelerate(model, config.train, compute.device)
    embed: Callable[[Tensor], Tensor] = fast
    epochs = config.train.epochs
    crafter: Crafter
    if config.craft.kind == "adaptive":
        crafter = AdaptiveCrafter.build(config, fast, task.spec, task.centers, task.threat)
    else:
        alone = config.adapter.parts == ("head",)  # then the trunk's features are all that training needs
        keep = model.trunk if alone else lambda x: x
        attacked = craft_once(
            config, model, task.spec, task.centers, task.threat, inputs, y, compute, watch.progress, keep=keep
        )
        if alone:
            (features,) = over_blocks(lambda rows, x: (model.trunk(x),), inputs, compute, config.data.workers)
            inputs, embed, epochs = Kept(features), model.readout, config.train.cached_epochs
        crafter = StaticCrafter(attacked)
    train(
        embed,
        parameters,
        TrainingSet(
            inputs, y, task.anchors.z, task.anchors.mirrored, None if partner is None else torch.from_numpy(partner)
        ),
        crafter,
        Total(config.objective, task.centers),
        config.train,
        compute=compute,
        workers=config.data.workers,
        epochs=epochs,
        seed=config.seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=watch.progress,
    )
    return Adapter.of(model, config.adapter, encoder.embedding_dim)


def _check_memory(task: Task, model: nn.Module, watch: Watch) -> None:
    """Refuse parts of batches that do not fit on the device; a processor has no such estimate."""
    free, config = free_memory(task.device), task.config.train
    if free is None:
        return
    plain = replace(config, compile=False, checkpointing=False)
    memory = estimate_memory(accelerate(model, plain, task.device), task.spec.shape, checkpointed=config.checkpointing)
    if memory is None:
        return
    free += memory.weights  # they lie there already
    size, parts = config.batch_of(len(task.data.train))
    largest = -(-size // parts)
    watch.measured(memory.of(2 * largest), free)
    check_memory(memory, largest, parts, free, checkpointed=config.checkpointing)


def _evaluate(task: Task, after: TorchRunner, processes: Processes, progress: Progress) -> ResultTable:
    """Attack the encoder without and with the adapter."""
    config = task.config
    before = runner_on(task.device, AdaptedModule(task.encoder.module()), task.spec)
    probe = task.data.held_out.head(config.evaluate.samples)
    return measure(
        before, after, task.centers, probe, task.threat, config.evaluate,
        seed=config.seed, processes=processes, progress=progress,
    )  # fmt: skip


def _embed_probe(task: Task, after: TorchRunner, compute: Compute) -> NDArray[np.float32]:
    """Embeddings (n, d) of all held-out samples by the calibrated model, the same for any number of threads."""
    inputs = Kept(torch.from_numpy(task.data.held_out.x))
    (z,) = over_blocks(lambda rows, x: (after.module(x),), inputs, compute, task.config.data.workers)
    found: NDArray[np.float32] = z.numpy()
    return found


def _manifest(work: _Work) -> dict[str, Any]:
    """The sections that describe the bundle; `Bundle` adds schema and files."""
    task, adapter = work.task, work.adapter
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
        "data": task.data.to_json(task.anchors.sha256),
        "config": asdict(config),
        "seed": config.seed,
        "metrics": work.table.to_json(),
        "environment": {**environment(), "device": device_name(task.device)},
    }
