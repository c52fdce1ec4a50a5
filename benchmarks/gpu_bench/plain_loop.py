"""Adversarial training written by hand in torch: the peer that calibrations are held against.

It computes what a calibration with the default settings computes, and has none of its machinery: PGD on the whole
batch, one pass over attacked and clean samples together, autograd, AdamW.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.adapters import AdaptedModule, trainable
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.centers import Centers
from advcal_edge.threat import ThreatModel

SLICE = 16  # samples


class PlainLoop:
    """Trains the adapter of `model` in place; x (n, ...), y (n,) and anchor (n, d) lie on its device."""

    autocast = False
    """Compute products in bfloat16?"""

    def __init__(self, model: AdaptedModule, centers: Centers, threat: ThreatModel, config: CalibrateConfig) -> None:
        self.model, self.threat, self.config = model, threat, config
        self.parameters = [*trainable(model).values()]
        self.device = self.parameters[0].device
        self.centers = torch.from_numpy(centers.vectors).to(self.device) / centers.temperature
        train = config.train
        self.optimizer = torch.optim.AdamW(self.parameters, train.learning_rate, weight_decay=train.weight_decay)

    def step(self, x: Tensor, y: Tensor, anchor: Tensor) -> None:
        """Craft, compare, step."""
        attacked = self.craft(x, y)
        self.optimizer.zero_grad()
        self.loss(attacked, x, y, anchor).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()

    def craft(self, x: Tensor, y: Tensor) -> Tensor:
        """PGD in linf from a random start, raising the cross-entropy."""
        radius, (low, high) = self.threat.radius, self.threat.bounds
        current = (x + radius * (2 * torch.rand_like(x) - 1)).clamp(low, high)
        for _ in range(self.config.craft.steps):
            leaf = current.detach().requires_grad_()
            F.cross_entropy(self.embed(leaf) @ self.centers.T, y).backward(inputs=[leaf])
            assert leaf.grad is not None  # noqa: S101
            moved = current + radius * self.config.craft.step * leaf.grad.sign()
            current = torch.clamp(moved, x - radius, x + radius).clamp(low, high)
        return current

    def loss(self, attacked: Tensor, clean: Tensor, y: Tensor, anchor: Tensor) -> Tensor:
        """The default objective, on attacked and on clean samples."""
        first, second = self.embed(torch.cat([attacked, clean])).chunk(2)
        objective = self.config.objective
        return self._weighted(first, y, anchor, objective.attacked_terms) + self._weighted(
            second, y, anchor, objective.clean_terms
        )

    def gradient(self, attacked: Tensor, clean: Tensor, y: Tensor, anchor: Tensor) -> Tensor:
        """The loss's gradient for all that is trained, as one vector; in slices, which fit wherever a step does."""
        total = torch.zeros((), device=self.device)
        for own in zip(*(torch.split(one, SLICE) for one in (attacked, clean, y, anchor)), strict=True):
            loss = self.loss(*own) * (len(own[0]) / len(y))
            total = total + torch.cat([one.reshape(-1) for one in torch.autograd.grad(loss, self.parameters)])
        return total

    def embed(self, x: Tensor) -> Tensor:
        """Unit-norm z (n, d) of x (n, ...)."""
        computing: AbstractContextManager[object] = (
            torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()
        )
        with computing:
            z: Tensor = self.model(x)
        return F.normalize(z.float(), dim=-1)

    def _weighted(self, z: Tensor, y: Tensor, anchor: Tensor, weights: Mapping[str, float]) -> Tensor:
        scores = z @ self.centers.T
        distance = (z - anchor).square().sum(dim=-1).mean()
        return weights["ce"] * F.cross_entropy(scores, y) + weights["l2"] * distance
