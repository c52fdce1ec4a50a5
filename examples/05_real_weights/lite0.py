"""EfficientNet-Lite0 with its ImageNet weights as an encoder: images to its pooled features."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from advcal_edge import spec
from advcal_edge.encoders.checkpoint import digest

SIZE, DIM = 64, 1280  # it was trained at 224; smaller frames are quicker to attack


class Features(nn.Module):
    """Physical x (n, 3, h, w) in [0, 1] to unit-norm z (n, d), scaled as the network was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, x: Tensor) -> Tensor:
        maps = self.network.extract_features((x * 255 - 127) / 128)
        return nn.functional.normalize(maps.mean((2, 3)), dim=-1)


@dataclass(frozen=True)
class Lite0:
    """What advcal-edge asks of an encoder: see `advcal_edge.encoders.base.Encoder`."""

    modality: spec.Modality
    weights: dict[str, Tensor] = field(repr=False)
    fingerprint: str
    embedding_dim: int = DIM
    name: str = "lite0"
    license: str = "Apache-2.0"
    metadata: dict[str, str] = field(default_factory=dict)

    def centers(self) -> None:
        """It brings none: class means of the training samples are used."""

    def module(self) -> nn.Module:
        """A new frozen module from each call."""
        features = Features()
        features.network.load_state_dict(self.weights)
        return features.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # twice as fast on a CPU


def encoder(modality: str, weights: Path | None) -> Lite0:
    """The factory that `--encoder lite0:encoder` names; `weights` is the checkpoint of `--weights`."""
    if modality != "image" or weights is None:
        raise ValueError(f"this encoder is for images and needs `--weights`: found `{modality}`, {weights}")
    state = torch.load(weights, weights_only=True)
    return Lite0(spec.image(SIZE), state, digest(state))
