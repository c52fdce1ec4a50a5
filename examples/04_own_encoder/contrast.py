"""A small encoder of your own: images to the contrast of their tiles. Replace `Tiles` with your network."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from advcal_edge import spec
from advcal_edge.encoders.checkpoint import digest

SIZE, DIM = 32, 64


class Tiles(nn.Module):
    """Physical x (n, 3, h, w) in [0, 1] to unit-norm z (n, d); normalisation is part of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, DIM, 8, 8)
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.patches((x - 0.5) / 0.25).flatten(2).transpose(1, 2))
        return nn.functional.normalize(self.head(torch.relu(tokens).mean(1)), dim=-1)


@dataclass(frozen=True)
class Contrast:
    """What advcal-edge asks of an encoder: see `advcal_edge.encoders.base.Encoder`."""

    modality: spec.Modality
    weights: dict[str, Tensor] = field(repr=False)
    fingerprint: str
    embedding_dim: int = DIM
    name: str = "contrast"
    license: str = "MIT"
    metadata: dict[str, str] = field(default_factory=dict)

    def centers(self) -> None:
        """It brings none: class means of the training samples are used."""

    def module(self) -> nn.Module:
        """A new frozen module from each call."""
        tiles = Tiles()
        tiles.load_state_dict(self.weights)
        return tiles.eval().requires_grad_(False)


def contrast(modality: str, weights: Path | None) -> Contrast:
    """The factory that `--encoder contrast:contrast` names; `weights` is the path of `--weights`."""
    if modality != "image":
        raise ValueError(f"this encoder is for images: found `{modality}`")
    if weights is None:
        torch.manual_seed(0)
        state = Tiles().state_dict()
    else:
        state = torch.load(weights, weights_only=True)
    return Contrast(spec.image(SIZE), state, digest(state))
