"""A frozen encoder small enough to be calibrated in a blink, the frames it was trained on, and a registry entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.centers import Centers
from advcal_edge.config import Layer
from advcal_edge.encoders.base import Encoder
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import Modality, thermal
from advcal_edge.storage import sha256_bytes

LABELS = ("cat", "dog", "owl")
DIM = 6
REGISTRY = {"small": "small_encoder:Small.load"}
ConfigMaker = Callable[..., CalibrateConfig]
"""From sections of settings to a configuration, see `conftest.make_config`."""


class SmallTrunk(nn.Module):
    """Patches, a norm, attention over patches and a readout: every kind of layer an adapter may touch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 4, 4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, DIM)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.stem(x - 0.5).flatten(2).transpose(1, 2))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        z: Tensor = self.head(F.gelu(tokens + mixed).mean(dim=1))
        return z


class Small:
    """Implements `Encoder`."""

    name = "small"
    embedding_dim = DIM
    license = "Apache-2.0"
    metadata: Mapping[str, Any] = {}

    def __init__(self, modality: Modality, state: dict[str, Tensor]) -> None:
        self.modality = modality
        self.state = state
        self.fingerprint = sha256_bytes(b"".join(value.numpy().tobytes() for value in state.values()))

    @classmethod
    def load(cls, modality: str, weights: Path | None = None) -> Encoder:
        encoder: Encoder = cls(thermal(8), trained_state())
        return encoder

    def centers(self) -> Centers:
        return make_centers()

    def module(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            trunk = SmallTrunk()
        trunk.load_state_dict(self.state)
        return trunk.eval().requires_grad_(False)


def make_centers() -> Centers:
    vectors = np.eye(len(LABELS), DIM, dtype=np.float32)
    return Centers(LABELS, vectors, 0.1, "rows of the identity")


def make_frames(n: int, seed: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Noisy pictures of three patterns; noise is per frame, so no two are equal."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).integers(90, 166, (len(LABELS), 8, 8))
    labels = np.arange(n) % len(LABELS)
    noisy = patterns[labels] + rng.normal(0, 12, (n, 8, 8))
    return list(np.clip(noisy, 0, 255).astype(np.uint8)), labels.astype(np.int64)


@cache
def trained_state() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trunk, centers = SmallTrunk(), make_centers()
        frames, labels = make_frames(120, seed=1)
        x, y = torch.from_numpy(preprocess(thermal(8), frames)), torch.from_numpy(labels)
        optimizer = torch.optim.Adam(trunk.parameters(), lr=0.01)
        for _ in range(60):
            optimizer.zero_grad()
            F.cross_entropy(centers.scores(F.normalize(trunk(x), dim=-1)), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {name: value.detach().clone() for name, value in trunk.state_dict().items()}


def write_folder(root: Path, n: int = 60, seed: int = 2) -> Path:
    """Frames as png files, one folder a class."""
    frames, labels = make_frames(n, seed)
    for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        path = root / LABELS[label] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    return root


def settings_of(folder: Path, out: str, sections: Mapping[str, Any]) -> list[Layer]:
    """Settings of a calibration to `out` on frames in `folder`, which are written if they are not there yet."""
    data = folder / "data"
    if not data.exists():
        write_folder(data, 120)
    return [
        Layer("test", {"modality": "thermal", "encoder": "small", "out": out}),
        Layer("test", {"data": {"path": str(data)}, "threat": {"eps": 0.03}}),
        Layer(
            "test",
            {"train": {"samples": 48, "batch": 16, "epochs": 3, "cached_epochs": 20, "head_learning_rate": 5e-3}},
        ),
        Layer("test", {"evaluate": {"samples": 30, "steps": 3, "queries": 5}, "craft": {"static_steps": 3}}),
        Layer("test", sections),
    ]
