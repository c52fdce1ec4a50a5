"""The training loop: craft, compare, step; bit-identical for the same seed, interrupted or not.

Adversarial examples are crafted through the adapter at each step, or once on the frozen encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from advcal_edge.attacks import PGD, run_attack
from advcal_edge.calibrate.adapters import AdaptedModule, trainable
from advcal_edge.calibrate.checkpoint import Checkpoint
from advcal_edge.calibrate.config import CalibrateConfig, TrainConfig
from advcal_edge.calibrate.objectives import Targets, Total, attack_loss
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.probe import Probe
from advcal_edge.progress import Progress
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel

WARM_UP = 0.1  # share of the steps over which the learning rate rises

Crafter = Callable[[Tensor, Tensor, Tensor, np.random.Generator], Tensor]
"""From the rows, x (n, ...) and y (n,) of a batch and a random generator to attacked x of the same shape."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Inputs or cached features x (n, ...), labels y (n,), and the frozen encoder's clean embeddings anchor (n, d)."""

    x: Tensor
    y: Tensor
    anchor: Tensor
    mirrored: Tensor | None = None
    """Anchors (n, d) of the inputs mirrored along their last axis; where given, half of each batch is mirrored."""
    partner: Tensor | None = None
    """Embeddings (n, d) of the same moments by another sensor."""

    def take(self, rows: Tensor, centers: Centers, rng: np.random.Generator) -> tuple[Tensor, Targets]:
        """The inputs of a batch, some of them mirrored, and what their embeddings are compared with."""
        x, anchor = self.x[rows], self.anchor[rows]
        if self.mirrored is not None:
            flip = torch.from_numpy(rng.random(len(rows)) < 0.5)
            x[flip] = x[flip].flip(-1)
            anchor[flip] = self.mirrored[rows[flip]]
        return x, Targets(self.y[rows], anchor, centers, None if self.partner is None else self.partner[rows])


def train(
    embed: Callable[[Tensor], Tensor],
    parameters: dict[str, nn.Parameter],
    samples: TrainingSet,
    crafter: Crafter,
    total: Total,
    config: TrainConfig,
    *,
    epochs: int,
    seed: int,
    checkpoint: Checkpoint,
    resume: bool,
    progress: Progress,
) -> None:
    """Train `parameters` in place so that `embed` withstands `crafter`; AdamW, gradients clipped to norm 1.

    Each epoch has its own random stream (seed, epoch), so that a resumed run equals an uninterrupted one bit for bit.

    Raises:
        ConfigError: nothing to resume, a state of other settings, or a loss that is no longer finite.
        BundleError: the state is damaged, or cannot be written.
    """
    optimizer = torch.optim.AdamW(groups(parameters, config), weight_decay=config.weight_decay)
    first = checkpoint.load(parameters, optimizer) if resume else 0
    n, batch = len(samples.y), min(config.batch, len(samples.y))
    batches = n // batch  # the last few of each shuffled epoch are dropped, so that all batches have equal weight
    for epoch in range(first, epochs):
        rng = np.random.default_rng([seed, epoch])
        order = torch.from_numpy(rng.permutation(n))
        for index in range(batches):
            progress("calibrate", epoch * batches + index, epochs * batches)
            rows = order[index * batch : (index + 1) * batch]
            x, targets = samples.take(rows, total.centers, rng)
            attacked = crafter(rows, x, targets.y, rng)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(epoch * batches + index, epochs * batches)
            optimizer.zero_grad()
            loss = total(embed, attacked, x, targets)
            if not torch.isfinite(loss):
                raise ConfigError(
                    f"training diverged in epoch {epoch + 1}: the loss is {loss.item()}; expected a finite number",
                    hint="lower the peak: `--set train.learning_rate=X`, or `train.head_learning_rate` for a head",
                )
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
        checkpoint.save(epoch + 1, parameters, optimizer)
    progress("calibrate", epochs * batches, epochs * batches)


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


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveCrafter:
    """PGD through encoder and adapter in their current state, raising the loss that training lowers."""

    model: AdaptedModule
    spec: TensorSpec
    centers: Centers
    threat: ThreatModel
    attack: PGD

    @classmethod
    def build(
        cls, config: CalibrateConfig, model: AdaptedModule, spec: TensorSpec, centers: Centers, threat: ThreatModel
    ) -> AdaptiveCrafter:
        """Build it with the steps of `config.craft` and the loss that matches the objective."""
        loss = attack_loss(config.objective)
        attack = PGD(steps=config.craft.steps, step=config.craft.step, loss=loss, select="last")
        return cls(model, spec, centers, threat, attack)

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        with frozen(self.model):
            model = TorchRunner(self.model, self.spec).attacked(self.centers)
            crafted: Tensor = self.attack.propose(model, x, y, self.threat, rng).x
        return crafted


@dataclass(frozen=True, slots=True, eq=False)
class StaticCrafter:
    """Looks up attacked samples (n, ...) by row; they may be inputs or cached features."""

    attacked: Tensor

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return self.attacked[rows]


def craft_once(
    config: CalibrateConfig,
    model: AdaptedModule,
    spec: TensorSpec,
    centers: Centers,
    threat: ThreatModel,
    samples: Probe,
    progress: Progress,
) -> Tensor:
    """Attacked training samples (n, ...), by PGD on the current model: call it before training."""
    attack = PGD(steps=config.craft.static_steps, loss=attack_loss(config.objective), select="strongest")
    runner = TorchRunner(model, spec)
    with frozen(model):
        outcome = run_attack(
            attack,
            runner.attacked(centers),
            samples.x,
            samples.y,
            threat,
            route="craft once",
            seed=config.seed,
            progress=progress,
        )
    return runner.place(outcome.x_adv)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, nothing is trainable and each adapted weight is computed once, for many passes of an attack."""
    moving = list(trainable(module).values())
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        with parametrize.cached():
            yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)
