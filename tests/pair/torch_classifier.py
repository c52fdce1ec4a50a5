"""The linear classifier as a torch module, behind a factory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from classifier import NAMES, SIZE, WEIGHTS
from torch import Tensor, from_numpy, nn

from advcal_edge import spec
from advcal_edge.centers import Centers
from advcal_edge.encoders.checkpoint import digest


class Logits(nn.Module):
    """The same in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(*WEIGHTS.shape, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, k) of x (n, 3, 4, 4)."""
        out: Tensor = self.head((x - 0.5).flatten(1))
        return out


@dataclass(frozen=True)
class Classifier:
    """Implements `Encoder`."""

    fingerprint: str
    modality: spec.Modality = field(default_factory=lambda: spec.image(SIZE))
    embedding_dim: int = len(NAMES)
    name: str = "classifier"
    license: str = "MIT"
    metadata: dict[str, str] = field(default_factory=dict)

    def centers(self) -> Centers | None:
        """None: its outputs are logits."""
        return None

    def module(self) -> nn.Module:
        """A new module from each call."""
        made = Logits()
        made.load_state_dict({"head.weight": from_numpy(WEIGHTS.T.copy())})
        return made.eval().requires_grad_(False)


def factory(modality: str, weights: Path | None) -> Classifier:
    """What `--reference torch_classifier:factory` names."""
    return Classifier(digest({"head.weight": from_numpy(WEIGHTS.T.copy())}))
