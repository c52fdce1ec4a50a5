"""Training losses: weighted sums of terms on the embeddings of attacked input, and of others on those of clean input.

All embeddings have unit norm: z (n, d) of attacked or clean input through the adapter, anchor (n, d) of the clean input
through the frozen encoder alone, partner (n, d) of another sensor's view of the same moments through its own frozen
encoder. y (n,) are labels, and C (k, d) the frozen centers.

`ce`, `l2` and `infonce` are the three objectives named in arXiv 2505.11895. The paper gives no formula for them, nor
for its regulariser of modality-consistent alignment; the formulas below are our interpretation of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.attacks.losses import INFO_NCE_TEMPERATURE
from advcal_edge.calibrate.config import ObjectiveConfig, ObjectiveKind
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the embeddings of one batch are compared with."""

    y: Tensor
    anchor: Tensor
    centers: Centers
    partner: Tensor | None = None

    def take(self, part: slice) -> Targets:
        """Those of some of the samples."""
        partner = None if self.partner is None else self.partner[part]
        return Targets(self.y[part], self.anchor[part], self.centers, partner)


Loss = Callable[[Tensor, Targets], Tensor]
"""From z (n, d) and its targets to the mean loss."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss that training lowers, and the loss of `advcal_edge.attacks` that raises it."""

    loss: Loss
    attack_loss: str
    couples: bool
    """Does the loss of a sample depend on the others of its batch? Else it is a mean over samples."""


OBJECTIVES: dict[str, Objective] = {}
"""By kind; filled by `objective`."""


def objective(kind: ObjectiveKind, *, attack_loss: str, couples: bool = False) -> Callable[[Loss], Loss]:
    """Register a function as the implementation of the term `kind`."""

    def register(loss: Loss) -> Loss:
        OBJECTIVES[kind] = Objective(loss, attack_loss, couples)
        return loss

    return register


@objective("ce", attack_loss="ce")
def cross_entropy(z: Tensor, targets: Targets) -> Tensor:
    """mean_i -log softmax(z_i C^T / temperature)_{y_i}."""
    scores: Tensor = targets.centers.smooth_scores(z)
    return F.cross_entropy(scores, targets.y)


@objective("l2", attack_loss="push")
def squared_distance(z: Tensor, targets: Targets) -> Tensor:
    """mean_i |z_i - anchor_i|^2 = mean_i 2 - 2 <z_i, anchor_i>; needs no labels."""
    return (z - targets.anchor).square().sum(dim=-1).mean()


@objective("infonce", attack_loss="infonce", couples=True)
def info_nce(z: Tensor, targets: Targets) -> Tensor:
    """mean_i -log softmax(z_i anchor^T / 0.07)_i, with the other samples of the batch as negatives; no labels.

    van den Oord et al. 2018, arXiv 1807.03748.
    """
    return _pick_own(z, targets.anchor)


@objective("soft", attack_loss="push")
def soft_labels(z: Tensor, targets: Targets) -> Tensor:
    """mean_i sum_k p_ik log(p_ik / q_ik), q = softmax(z C^T / temperature) and p the same of the anchor; no labels.

    Distillation from the frozen encoder (Hinton et al. 2015, arXiv 1503.02531), at its own temperature.
    """
    student: Tensor = targets.centers.smooth_scores(z)
    teacher: Tensor = targets.centers.smooth_scores(targets.anchor)
    return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


@objective("consistency", attack_loss="push", couples=True)
def consistency(z: Tensor, targets: Targets) -> Tensor:
    """mean_{i != j} (<z_i, z_j> - <anchor_i, anchor_j>)^2: embeddings keep the geometry of the frozen clean ones.

    Zero for a batch of one, which has no pairs.
    """
    difference = z @ z.T - targets.anchor @ targets.anchor.T
    pairs = len(z) * (len(z) - 1)
    return (difference.square().sum() - difference.diagonal().square().sum()) / max(pairs, 1)


@objective("partner", attack_loss="push", couples=True)
def partner_info_nce(z: Tensor, targets: Targets) -> Tensor:
    """mean_i -log softmax(z_i partner^T / 0.07)_i: ImageBind's own alignment (arXiv 2305.05665, eq. 1), one direction.

    Raises:
        ConfigError: the samples have no partners.
    """
    if targets.partner is None:
        raise ConfigError(
            "the objective `partner` needs training samples with a partner; these have none",
            hint="give a csv with the column `pair` and name its sensor with `--pairs`, or leave the term out",
        )
    return _pick_own(z, targets.partner)


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """The sum of the terms of `config`, each with its weight."""

    config: ObjectiveConfig
    centers: Centers

    @property
    def couples(self) -> bool:
        """Does any term compare samples of a batch with each other?"""
        return any(OBJECTIVES[term].couples for term in self.config.terms)

    def embed(self, embed: Callable[[Tensor], Tensor], attacked: Tensor, clean: Tensor) -> Tensor:
        """Embeddings (m, d) that the loss looks at: of attacked input, then of clean input if any term wants it."""
        return embed(torch.cat([attacked, clean]) if self.config.clean_terms else attacked)

    def loss(self, z: Tensor, targets: Targets) -> Tensor:
        """The loss of a batch with these embeddings, as `embed` orders them."""
        n = len(targets.y)
        loss = _weighted(self.config.attacked_terms, z[:n], targets)
        return loss + _weighted(self.config.clean_terms, z[n:], targets) if self.config.clean_terms else loss


def attack_loss(config: ObjectiveConfig) -> str:
    """The loss by which attacks of the training raise the first term on attacked input."""
    return choose("objective", next(iter(config.attacked_terms)), OBJECTIVES).attack_loss


def _weighted(terms: Mapping[ObjectiveKind, float], z: Tensor, targets: Targets) -> Tensor:
    total = z.new_zeros(())
    for term, weight in terms.items():
        total = total + weight * OBJECTIVES[term].loss(z, targets)
    return total


def _pick_own(z: Tensor, candidates: Tensor) -> Tensor:
    """Cross-entropy of finding the own candidate among all of the batch."""
    own = torch.arange(len(z), device=z.device)
    return F.cross_entropy(z @ candidates.T / INFO_NCE_TEMPERATURE, own)
