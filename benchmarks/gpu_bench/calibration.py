"""The training of `calibrate` as its verb puts it together, on samples without meaning, for as many steps as wanted."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor

from advcal_edge.calibrate.acceleration import accelerate
from advcal_edge.calibrate.adapters import trainable
from advcal_edge.calibrate.checkpoint import Checkpoint
from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.craft import AdaptiveCrafter
from advcal_edge.calibrate.data.inputs import Kept
from advcal_edge.calibrate.gradient import BatchGradient, Part, part_lengths
from advcal_edge.calibrate.memory import estimate_memory
from advcal_edge.calibrate.objectives import Targets, Total
from advcal_edge.calibrate.train import TrainingSet, train
from advcal_edge.progress import Progress, silent
from gpu_bench.crafting import CLASSES, centers
from gpu_bench.subjects import Subject, adapted
from gpu_bench.trunks import SEED, noise


class Calibration:
    """A model with its adapter and all that trains it."""

    def __init__(self, who: Subject, config: CalibrateConfig, compute: Compute, folder: Path) -> None:
        self.who, self.config, self.compute = who, config, compute
        self.threat, self.centers = config.threat_model(who.spec), centers(who.dim)
        self.x, self.y, self.anchor = samples(who, config.train.samples)
        self.model = adapted(who, config, compute.device)
        self.embed = accelerate(self.model, config.train, compute.device)
        self.parameters = trainable(self.model)
        self.crafter = AdaptiveCrafter.build(config, self.embed, who.spec, self.centers, self.threat)
        self.total = Total(config.objective, self.centers)
        self.checkpoint = Checkpoint.beside(folder, {})
        self.parts = min(config.train.parts, config.train.batch)

    def run(self, steps: int, progress: Progress = silent) -> None:
        """So many steps, or a few more to fill an epoch, by `train`."""
        batch = self.config.train.batch
        size = min(steps * batch, len(self.x))
        train(
            self.embed,
            self.parameters,
            TrainingSet(Kept(self.x[:size]), self.y[:size], self.anchor[:size]),
            self.crafter,
            self.total,
            self.config.train,
            compute=self.compute,
            workers=self.config.data.workers,
            epochs=-(-steps * batch // size),
            seed=self.config.seed,
            checkpoint=self.checkpoint,
            resume=False,
            progress=progress,
        )

    def batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """x (n, ...), y (n,) and anchor (n, d) of one batch, on the device; they begin again after the last."""
        size = self.config.train.batch
        first = number * size % len(self.x)
        rows = slice(first, first + size)
        x, y, anchor = (one[rows].to(self.compute.device) for one in (self.x, self.y, self.anchor))
        return x, y, anchor

    def gradient(self) -> Tensor:
        """That of the first batch's loss for all that is trained, as one vector; mirrored inputs count as attacked."""
        x, y, anchor = self.batch(0)
        ends = accumulate(part_lengths(len(x), self.parts), initial=0)
        places = [slice(*pair) for pair in pairwise(ends)]
        pieces = [Part(place, x[place].flip(-1), x[place]) for place in places]
        values = [*self.parameters.values()]
        BatchGradient(self.embed, values, self.total, self.compute)(
            pieces, self.parts, Targets(y, anchor, self.centers)
        )
        return torch.cat([value.grad.reshape(-1) for value in values if value.grad is not None])

    def estimate(self) -> int | None:
        """Bytes that `calibrate` expects a part to need; None where it cannot tell."""
        plain = accelerate(self.model, replace(self.config.train, compile=False), self.compute.device)
        memory = estimate_memory(plain, self.who.spec.shape)
        return None if memory is None else memory.of(2 * part_lengths(self.config.train.batch, self.parts)[0])


def samples(who: Subject, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs from the whole range of the sensor, labels, and random directions as anchors, on the CPU."""
    directions = torch.randn(count, who.dim, generator=torch.Generator().manual_seed(SEED))
    return noise(who.spec, count), torch.arange(count) % CLASSES, torch.nn.functional.normalize(directions, dim=-1)
