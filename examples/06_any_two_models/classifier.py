"""A classifier that was never calibrated, and the factory by which `verify` gets its gradient from torch."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from advcal_edge import spec
from advcal_edge.encoders.checkpoint import digest

SIZE, CLASSES = 28, 10


class Classifier(nn.Module):
    """Physical x (n, 3, h, w) in [0, 1] to logits (n, k); normalisation is part of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SIZE * SIZE, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x.mean(1).flatten(1) - 0.5) / 0.25)


@dataclass(frozen=True)
class Original:
    """What `--reference classifier:original` must return: see `advcal_edge.encoders.base.Encoder`."""

    weights: dict[str, Tensor] = field(repr=False)
    fingerprint: str
    modality: spec.Modality = field(default_factory=lambda: spec.image(SIZE))
    embedding_dim: int = CLASSES
    name: str = "classifier"
    license: str = "MIT"
    metadata: dict[str, str] = field(default_factory=dict)

    def centers(self) -> None:
        """None: the outputs are logits."""

    def module(self) -> nn.Module:
        """A new frozen module from each call."""
        model = Classifier()
        model.load_state_dict(self.weights)
        return model.eval().requires_grad_(False)


def original(modality: str, weights: Path | None) -> Original:
    """The factory; `weights` is the path of `--weights`."""
    state = torch.load(weights, weights_only=True)
    return Original(state, digest(state))
