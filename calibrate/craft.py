"""Adversarial examples of the training: crafted through the adapter at each step, or once on the frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from advcal_edge.attacks import ATTACK_BATCH, PGD, run_attack
from advcal_edge.calibrate.adapters import AdaptedModule, trainable
from advcal_edge.calibrate.anchors import over_blocks
from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.data.inputs import Inputs
from advcal_edge.calibrate.objectives import attack_loss
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.progress import Progress
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel

Crafter = Callable[[Tensor, Tensor, Tensor, np.random.Generator], Tensor]
"""From the rows, x (n, ...) and y (n,) of a part and a random generator to attacked x of the same shape."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveCrafter:
    """PGD through encoder and adapter in their current state, raising the loss that training lowers."""

    runner: TorchRunner
    centers: Centers
    threat: ThreatModel
    attack: PGD

    @classmethod
    def build(
        cls, config: CalibrateConfig, model: nn.Module, spec: TensorSpec, centers: Centers, threat: ThreatModel
    ) -> AdaptiveCrafter:
        """Build it with the steps of `config.craft` and the loss that matches the objective."""
        loss = attack_loss(config.objective)
        attack = PGD(steps=config.craft.steps, step=config.craft.step, loss=loss, select="last")
        return cls(TorchRunner(model, spec), centers, threat, attack)

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        crafted: Tensor = self.attack.propose(self.runner.attacked(self.centers), x, y, self.threat, rng).x
        return crafted


@dataclass(frozen=True, slots=True, eq=False)
class StaticCrafter:
    """Looks up attacked samples (n, ...) by row; they may be inputs or cached features."""

    attacked: Tensor

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return self.attacked[rows].to(x.device)


def craft_once(
    config: CalibrateConfig,
    model: AdaptedModule,
    spec: TensorSpec,
    centers: Centers,
    threat: ThreatModel,
    inputs: Inputs,
    y: Tensor,
    compute: Compute,
    progress: Progress,
    *,
    keep: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """What `keep` makes of attacked training inputs (n, ...), by PGD on the current model: call it before training.

    Raises:
        InputError: they would not fit into memory.
    """
    attack = PGD(steps=config.craft.static_steps, loss=attack_loss(config.objective), select="strongest")
    attacked = TorchRunner(model, spec).attacked(centers)

    def craft(rows: Tensor, x: Tensor) -> tuple[Tensor]:
        own, first = y[rows].numpy(), int(rows[0]) // ATTACK_BATCH
        clean = x.cpu().numpy()
        found = run_attack(attack, attacked, clean, own, threat, route="craft once", seed=config.seed, first=first)
        return (keep(torch.from_numpy(found.x_adv).to(x.device)),)

    def done(rows: int) -> None:
        progress(f"craft once: {attack}", rows, len(inputs))

    with frozen(trainable(model).values()):
        (found,) = over_blocks(craft, inputs, compute, config.data.workers, ATTACK_BATCH, done)
    return found


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside, `parameters` are fixed, and each adapted weight is computed once, for many passes of an attack."""
    moving = list(parameters)
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        with parametrize.cached():
            yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)
