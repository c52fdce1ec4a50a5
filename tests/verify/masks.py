"""Models that look robust to one attack and are not: landscapes with honest gradients, and gradients that lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.attacks import AttackedModel
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.model import Pullback, Runner
from advcal_edge.spec import TensorSpec, image
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import Samples

SPEC = image(4).input
EPS = 0.1
GROUPS = 4

Scores = Callable[[Tensor], Tensor]
"""From how far each quarter of the input has moved, t (n, 4) in [-1, 1], to the scores (n, k) of the classes."""


class Landscape(nn.Module):
    """Scores as a function of four means of the input, each of 12 values: whatever shape one wants to climb on."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, x: Tensor) -> Tensor:
        """x (n, 3, 4, 4) -> z (n, k) of unit norm."""
        moved = (x - 0.5).reshape(len(x), 3 * 4 * 4 // GROUPS, GROUPS).mean(dim=1) / EPS
        return F.normalize(self.scores(moved), dim=-1)


def landscape(scores: Scores, n: int = 32) -> tuple[AttackedModel, Samples]:
    """A model of that shape and n samples of its class 0, all within a twentieth of eps of the middle."""
    classes = scores(torch.zeros(1, GROUPS)).shape[1]
    centers = Centers(tuple(f"class {k}" for k in range(classes)), np.eye(classes, dtype=np.float32), 0.1, "axes")
    model = TorchRunner(Landscape(scores), SPEC).attacked(centers)
    x = 0.5 + EPS / 20 * np.random.default_rng(0).uniform(-1, 1, size=(n, *SPEC.shape)).astype(np.float32)
    threat = ThreatModel("linf", EPS, SPEC.bounds)
    return model, Samples(x.astype(np.float32), np.zeros(n, np.int64), threat, seed=0)


def against(wrong: Callable[[Tensor], Tensor]) -> Scores:
    """Two classes; the wrong one leads where `wrong` (n,) is positive, and z turns toward it as that grows."""

    def scores(t: Tensor) -> Tensor:
        angle = torch.pi / 4 * (1 + F.softsign(wrong(t)))
        return torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)

    return scores


def slope(t: Tensor) -> Tensor:
    """Honest: a plain, lost at four tenths of the way."""
    return t.mean(dim=1) - 0.4


def fragile(t: Tensor) -> Tensor:
    """Lost as soon as any one quarter moves half of the way, in either direction: noise alone often gets there."""
    return t.abs().amax(dim=1) - 0.5


def barrier(t: Tensor) -> Tensor:
    """A low hill, a valley and a cliff behind: small steps stay on the hill, a single large one is over the edge."""
    way = t.mean(dim=1)
    return -0.6 + 0.4 * torch.sin(2.5 * torch.pi * way.clamp(max=0.8)) + 4 * F.relu(way - 0.8)


def staircase(t: Tensor) -> Tensor:
    """Each quarter counts once the one before has gone nearly all the way: four steps a quarter, sixteen in all."""
    reached, total = torch.ones(len(t)), torch.zeros(len(t))
    for quarter in t.unbind(dim=1):
        reached = F.relu(10 * reached - 9) * quarter
        total = total + reached
    return total / 4 - 0.8


def decoy(t: Tensor) -> Tensor:
    """Three classes: toward the runner-up it is steep and never arrives, away from it the third one waits."""
    way = t.mean(dim=1)
    return torch.stack([torch.ones_like(way), 0.6 + 0.35 * torch.tanh(6 * way), 0.05 - 1.4 * way], dim=1)


class Purified(nn.Module):
    """An encoder and ten rounds of a "purification" of its embedding that is the identity and starves the gradient.

    z + 30 z points where z does, but only the first of the two passes a gradient: each round divides it by 31.
    """

    def __init__(self, encoder: nn.Module, rounds: int = 10) -> None:
        super().__init__()
        self.encoder, self.rounds = encoder, rounds

    def forward(self, x: Tensor) -> Tensor:
        """x (n, ...) -> z (n, d) of unit norm."""
        z: Tensor = self.encoder(x)
        for _ in range(self.rounds):
            z = F.normalize(z + 30 * z.detach(), dim=-1)
        return z


class Bent:
    """An honest model's gradient, changed on its way out."""

    def __init__(self, honest: AttackedModel, bend: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self.honest, self.bend = honest.white_box(), bend

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        z, pullback = self.honest.vjp(x)
        return z, lambda v: self.bend(pullback(v))


class Hashed:
    """Noise that repeats itself: drawn from a stream that the input's own bytes seed, so that no second run differs."""

    def __init__(self, inner: Runner, size: float) -> None:
        self.inner, self.size = inner, size

    @property
    def spec(self) -> TensorSpec:
        return self.inner.spec

    @property
    def fingerprint(self) -> str:
        return f"hashed {self.inner.fingerprint}"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        z = np.asarray(self.inner(x))
        seeds = [np.frombuffer(row.tobytes(), np.uint32) for row in x]
        noise = np.stack([np.random.default_rng(seed).standard_normal(z.shape[1]) for seed in seeds])
        z = z + np.float32(self.size) * noise.astype(np.float32)
        return z / np.linalg.norm(z, axis=1, keepdims=True)
