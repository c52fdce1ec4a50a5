"""A model that counts what is asked of it and remembers the nearest adversarial input, the same for every library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.threat import ThreatModel

SLACK = 1e-6
"""Inputs may leave the bounds by so much, for rounding; others do not count as found."""


class Watch:
    """What one attack has done to the clean samples x (n, ...) of classes y (n,).

    `nearest` (n,) is the distance of the nearest input seen that is legal and labelled wrong, whether the attack
    returns it or not; infinite where there is none. `forwards` and `backwards` count samples, not batches.
    """

    def __init__(self, x: Tensor, y: Tensor, threat: ThreatModel) -> None:
        self.x, self.y, self.threat = x, y, threat
        self.forwards = self.backwards = 0
        self.nearest = torch.full((len(x),), torch.inf)
        self._flat = x.flatten(1)
        self._energy = self._flat.square().sum(dim=1) / 2

    def see(self, x: Tensor, labels: Tensor) -> None:
        """Take note of inputs x (m, ...) and of the labels (m,) that the model gives them.

        Attacks drop and reorder samples, so each input belongs to the clean sample that is nearest in l2.
        """
        low, high = self.threat.bounds
        flat = x.flatten(1)
        own = (self._energy - flat @ self._flat.T).argmin(dim=1)
        legal = (flat.amin(dim=1) >= low - SLACK) & (flat.amax(dim=1) <= high + SLACK)
        wrong = legal & (labels != self.y[own])
        if bool(wrong.any()):
            own = own[wrong]
            self.nearest.scatter_reduce_(0, own, self.threat.distance(x[wrong], self.x[own]), "amin")


class Meter(nn.Module):
    """The module it wraps, x (n, ...) -> z (n, d), watched by the `Watch` of the moment, if there is one."""

    def __init__(self, module: nn.Module, labels: Callable[[Tensor], Tensor]) -> None:
        """`labels` takes z (n, d) to the predicted classes (n,)."""
        super().__init__()
        self.module, self.labels = module, labels
        self.watch: Watch | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Embed x, and let it be counted."""
        watch = self.watch
        if watch is None:
            embedded: Tensor = self.module(x)
            return embedded
        watch.forwards += len(x)
        z: Tensor = self.module(CountBackward.apply(x, watch) if x.requires_grad else x)
        watch.see(x.detach(), self.labels(z.detach()))
        return z

    @contextmanager
    def watched(self, x: Tensor, y: Tensor, threat: ThreatModel) -> Iterator[Watch]:
        """Watch the passes of this block, of an attack on x (n, ...)."""
        self.watch = watch = Watch(x, y, threat)
        try:
            yield watch
        finally:
            self.watch = None


class CountBackward(torch.autograd.Function):
    """The identity, which counts the samples whose gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, watch: Watch) -> Tensor:
        """x itself."""
        ctx.watch = watch
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """The gradient itself, in the order of memory that libraries expect who call `view` on it."""
        ctx.watch.backwards += len(slopes[0])
        return slopes[0].contiguous(), None
