"""Training losses of unit-norm embeddings: z (n, d) of attacked or clean input through the adapter,
anchor (n, d) of the clean input through the frozen encoder alone, y (n,), and the frozen centers C (k, d).

The three objectives are those named in arXiv 2505.11895. The paper gives no formula for them, nor for its regulariser
of modality-consistent alignment; the formulas below are our interpretation of its text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.attacks.losses import INFO_NCE_TEMPERATURE
from advcal_edge.calibrate.config import ObjectiveConfig, ObjectiveKind
from advcal_edge.centers import Centers
from advcal_edge.registry import choose

Loss = Callable[[Tensor, Tensor, Tensor, Centers], Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss that training lowers, and the loss of `advcal_edge.attacks` that raises it."""

    loss: Loss
    attack_loss: str


OBJECTIVES: dict[str, Objective] = {}
"""By kind; filled by `objective`."""


def objective(kind: ObjectiveKind, *, attack_loss: str) -> Callable[[Loss], Loss]:
    """Register a function as the implementation of `kind` in `objective.kind`."""

    def register(loss: Loss) -> Loss:
        OBJECTIVES[kind] = Objective(loss, attack_loss)
        return loss

    return register


@objective("ce", attack_loss="ce")
def cross_entropy(z: Tensor, anchor: Tensor, y: Tensor, centers: Centers) -> Tensor:
    """mean_i -log softmax(z_i C^T / temperature)_{y_i}."""
    scores: Tensor = centers.smooth_scores(z)
    return F.cross_entropy(scores, y)


@objective("l2", attack_loss="push")
def squared_distance(z: Tensor, anchor: Tensor, y: Tensor, centers: Centers) -> Tensor:
    """mean_i |z_i - anchor_i|^2 = mean_i 2 - 2 <z_i, anchor_i>; needs no labels."""
    return (z - anchor).square().sum(dim=-1).mean()


@objective("infonce", attack_loss="infonce")
def info_nce(z: Tensor, anchor: Tensor, y: Tensor, centers: Centers) -> Tensor:
    """mean_i -log softmax(z_i anchor^T / 0.07)_i, with the other samples of the batch as negatives; no labels."""
    return F.cross_entropy(z @ anchor.T / INFO_NCE_TEMPERATURE, torch.arange(len(z), device=z.device))


def consistency(z: Tensor, anchor: Tensor) -> Tensor:
    """mean_{i != j} (<z_i, z_j> - <anchor_i, anchor_j>)^2: attacked embeddings keep the geometry of the clean ones.

    Zero for a batch of one, which has no pairs.
    """
    difference = z @ z.T - anchor @ anchor.T
    pairs = len(z) * (len(z) - 1)
    return (difference.square().sum() - difference.diagonal().square().sum()) / max(pairs, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """objective(z_adv) + clean * objective(z_clean) + consistency * regulariser(z_adv), weights from `config`."""

    config: ObjectiveConfig
    centers: Centers

    def __call__(self, embed: Callable[[Tensor], Tensor], attacked: Tensor, clean: Tensor, anchor: Tensor,
                 y: Tensor) -> Tensor:  # fmt: skip
        """The loss of one batch; `embed` maps inputs to z and is called once for attacked and clean together."""
        measure = choose("objective", self.config.kind, OBJECTIVES).loss
        n = len(attacked)
        z = embed(torch.cat([attacked, clean]) if self.config.clean else attacked)
        loss = measure(z[:n], anchor, y, self.centers)
        if self.config.clean:
            loss = loss + self.config.clean * measure(z[n:], anchor, y, self.centers)
        if self.config.consistency:
            loss = loss + self.config.consistency * consistency(z[:n], anchor)
        return loss
