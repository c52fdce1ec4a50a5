"""The training loop: craft, compare, step; the same bits for a seed, interrupted or not, on any number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advcal_edge.calibrate.checkpoint import Checkpoint
from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.config import TrainConfig
from advcal_edge.calibrate.craft import Crafter, frozen
from advcal_edge.calibrate.data.inputs import Inputs, stream
from advcal_edge.calibrate.gradient import BatchGradient, Part, part_lengths
from advcal_edge.calibrate.objectives import Targets, Total
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.progress import Progress

WARM_UP = 0.1  # share of the steps over which the learning rate rises


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Inputs or cached features (n, ...), labels y (n,), and the frozen encoder's clean embeddings anchor (n, d)."""

    inputs: Inputs
    y: Tensor
    anchor: Tensor
    mirrored: Tensor | None = None
    """Anchors (n, d) of the inputs mirrored along their last axis; where given, half of each batch is mirrored."""
    partner: Tensor | None = None
    """Embeddings (n, d) of the same moments by another sensor."""

    def targets(self, batch: Batch, centers: Centers, device: torch.device) -> Targets:
        """What the embeddings of a batch are compared with."""
        anchor = self.anchor[batch.rows]
        if self.mirrored is not None:
            anchor[batch.flip] = self.mirrored[batch.rows[batch.flip]]
        partner = None if self.partner is None else self.partner[batch.rows].to(device)
        return Targets(self.y[batch.rows].to(device), anchor.to(device), centers, partner)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows (b,) of a step, which of them are mirrored (b,), and where each part lies."""

    rows: Tensor
    flip: Tensor
    parts: tuple[slice, ...]


def batches_of(n: int, size: int, parts: int, rng: np.random.Generator, *, mirror: bool) -> list[Batch]:
    """The batches of an epoch. The last few samples are dropped, so that all batches have equal weight."""
    order = torch.from_numpy(rng.permutation(n))[: n // size * size]
    flips = torch.from_numpy(rng.random(len(order)) < 0.5) if mirror else torch.zeros(len(order), dtype=torch.bool)
    ends = [*accumulate(part_lengths(size, parts), initial=0)]
    places = tuple(map(slice, ends, ends[1:]))
    pairs = zip(torch.split(order, size), torch.split(flips, size), strict=True)
    return [Batch(rows, flip, places) for rows, flip in pairs]


def train(
    embed: Callable[[Tensor], Tensor],
    parameters: dict[str, nn.Parameter],
    samples: TrainingSet,
    crafter: Crafter,
    total: Total,
    config: TrainConfig,
    *,
    compute: Compute,
    workers: int,
    epochs: int,
    seed: int,
    checkpoint: Checkpoint,
    resume: bool,
    progress: Progress,
) -> None:
    """Train `parameters` in place so that `embed` withstands `crafter`; AdamW, gradients clipped to norm 1.

    Each part of a batch has its own random stream (seed, epoch, batch, part), and each epoch one for its order, so that
    neither an interruption nor the number of processes changes a bit.

    Raises:
        ConfigError: nothing to resume, a state of other settings, or a loss that is no longer finite.
        BundleError: the state is damaged, or cannot be written.
        InputError: an input cannot be read any more.
    """
    optimizer = torch.optim.AdamW(groups(parameters, config), weight_decay=config.weight_decay)
    first = checkpoint.load(parameters, optimizer) if resume else 0
    size, parts = config.batch_of(len(samples.y))
    gradient = BatchGradient(embed, [*parameters.values()], total, compute)
    own = compute.processes.own(parts)
    for epoch in range(first, epochs):
        rng = np.random.default_rng([seed, epoch])
        batches = batches_of(len(samples.y), size, parts, rng, mirror=samples.mirrored is not None)
        loaded = load_parts(samples.inputs, batches, own, compute, workers)
        steps = epochs * len(batches)
        for index, batch in enumerate(batches):
            step = epoch * len(batches) + index
            progress("calibrate", step, steps)
            targets = samples.targets(batch, total.centers, compute.device)
            clean = [*islice(loaded, len(own))]
            craft = _Craft(crafter, batch, targets, [seed, epoch, index])
            with frozen(parameters.values()):
                attacked = [*compute.map(craft, zip(own, clean, strict=True))]
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(step, steps)
            pieces = [Part(batch.parts[place], *both) for place, *both in zip(own, attacked, clean, strict=True)]
            loss = gradient(pieces, parts, targets)
            if not torch.isfinite(loss):
                raise ConfigError(
                    f"training diverged in epoch {epoch + 1}: the loss is {loss.item()}; expected a finite number",
                    hint="lower the peak: `--set train.learning_rate=X`, or `train.head_learning_rate` for a head",
                )
            nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
        if compute.processes.first:
            checkpoint.save(epoch + 1, parameters, optimizer)
    progress("calibrate", epochs * (len(samples.y) // size), epochs * (len(samples.y) // size))


@dataclass(frozen=True, slots=True, eq=False)
class _Craft:
    """Crafts for one part of a batch, given its number and its clean inputs."""

    crafter: Crafter
    batch: Batch
    targets: Targets
    stream: list[int]

    def __call__(self, piece: tuple[int, Tensor]) -> Tensor:
        number, x = piece
        place = self.batch.parts[number]
        rng = np.random.default_rng([*self.stream, number])
        return self.crafter(self.batch.rows[place], x, self.targets.y[place], rng)


def load_parts(inputs: Inputs, batches: list[Batch], own: range, compute: Compute, workers: int) -> Iterator[Tensor]:
    """x (m, ...) of this process's parts, batch by batch."""
    places = [(batch, batch.parts[number]) for batch in batches for number in own]
    loaded = stream(inputs, (batch.rows[place] for batch, place in places), compute.device, workers)
    for (batch, place), x in zip(places, loaded, strict=True):
        flip = batch.flip[place]
        flip = flip.view(-1, *[1] * (x.dim() - 1)).to(x.device)
        yield torch.where(flip, x.flip(-1), x) if batch.flip.any() else x


def groups(parameters: dict[str, nn.Parameter], config: TrainConfig) -> list[dict[str, Any]]:
    """The head's parameters and the others, each with its peak learning rate."""
    head = [value for name, value in parameters.items() if name.startswith("head.")]
    inside = [value for name, value in parameters.items() if not name.startswith("head.")]
    pairs = ((inside, config.learning_rate), (head, config.head_learning_rate))
    return [{"params": values, "peak": peak} for values, peak in pairs if values]


def schedule(step: int, steps: int) -> float:
    """Factor on the learning rate: linear to 1 over the warm-up, then (1 + cos) / 2 down to 0."""
    rise = max(round(WARM_UP * steps), 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))
