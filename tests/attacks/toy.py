"""A small nonlinear encoder with random weights: its own clean labels are the truth, so that it starts at 100 %."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from advcal_edge.attacks import AttackedModel
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.spec import image
from advcal_edge.threat import ThreatModel

SIDE, DIM, CLASSES = 12, 16, 6
SPEC = image(SIDE).input
THREAT = ThreatModel("linf", 6 / 255, (0.0, 1.0))


class ToyEncoder(nn.Module):
    """Two convolutions, a mean, a projection, unit norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.head = nn.Linear(24 * 36, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (n, 3, 12, 12) -> z (n, 16)."""
        hidden = F.gelu(self.second(F.gelu(self.first((x - 0.5) * 4))))
        return F.normalize(self.head(hidden.flatten(1)), dim=-1)


def centers(classes: int = CLASSES) -> Centers:
    """Random unit vectors."""
    vectors = np.random.default_rng(7).normal(size=(classes, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Centers(tuple(f"class {k}" for k in range(classes)), vectors, 0.1, "random")


def toy(n: int = 64, classes: int = CLASSES) -> tuple[AttackedModel, NDArray[Any], NDArray[Any]]:
    """AttackedModel, inputs x (n, 3, 12, 12) and the labels (n,) it gives them."""
    torch.manual_seed(3)
    module = ToyEncoder().eval().requires_grad_(False)
    runner = TorchRunner(module, SPEC)
    model = runner.attacked(centers(classes))
    x = np.random.default_rng(5).uniform(0, 1, size=(n, *SPEC.shape)).astype(np.float32)
    return model, x, np.asarray(model.centers.predict(runner(x)))
