"""Adversarial examples for training: fresh ones through the adapter, or one set on the frozen encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from advcal_edge.attacks import PGD, run_attack
from advcal_edge.calibrate.adapters import frozen
from advcal_edge.calibrate.adapters.base import AdaptedModule
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.objectives import ATTACK_LOSSES
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.probe import Probe
from advcal_edge.progress import Progress
from advcal_edge.registry import choose
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel

Crafter = Callable[[Tensor, Tensor, Tensor, np.random.Generator], Tensor]
"""From the rows, x (n, ...) and y (n,) of a batch and a random stream to attacked x, shaped alike."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveCrafter:
    """PGD through encoder and adapter as they are now, raising what training lowers."""

    model: AdaptedModule
    spec: TensorSpec
    centers: Centers
    threat: ThreatModel
    attack: PGD

    @classmethod
    def build(
        cls, config: CalibrateConfig, model: AdaptedModule, spec: TensorSpec, centers: Centers, threat: ThreatModel
    ) -> AdaptiveCrafter:
        """With the steps of `config.craft` and the loss that matches the objective."""
        loss = choose("objective", config.objective.kind, ATTACK_LOSSES)
        attack = PGD(steps=config.craft.steps, step=config.craft.step, loss=loss, select="last")
        return cls(model, spec, centers, threat, attack)

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        with frozen(self.model):
            victim = TorchRunner(self.model, self.spec).victim(self.centers)
            crafted: Tensor = self.attack.propose(victim, x, y, self.threat, rng).x
        return crafted


@dataclass(frozen=True, slots=True, eq=False)
class StaticCrafter:
    """Looks attacked samples (n, ...) up by row; they may be inputs or cached features."""

    attacked: Tensor

    def __call__(self, rows: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return self.attacked[rows]


def craft_once(
    config: CalibrateConfig,
    model: AdaptedModule,
    spec: TensorSpec,
    centers: Centers,
    threat: ThreatModel,
    train: Probe,
    progress: Progress,
) -> Tensor:
    """Attacked training samples (n, ...), by PGD on the model as it is: call it before anything is trained."""
    loss = choose("objective", config.objective.kind, ATTACK_LOSSES)
    attack = PGD(steps=config.craft.static_steps, loss=loss, select="strongest")
    runner = TorchRunner(model, spec)
    with frozen(model):
        outcome = run_attack(
            attack,
            runner.victim(centers),
            train.x,
            train.y,
            threat,
            route="craft once",
            seed=config.seed,
            progress=progress,
        )
    return runner.place(outcome.x_adv)
