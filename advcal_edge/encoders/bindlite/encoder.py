"""Bindlite as an `Encoder`: the files of each modality, and how they become a module."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import spec
from advcal_edge.centers import Centers
from advcal_edge.encoders.blank import Blank, on_meta
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent

MODALITIES: Mapping[str, Modality] = {
    "image": spec.image(64),
    "video": spec.video(64, 2),
    "thermal": spec.thermal(64),
    "depth": spec.depth(64),
    "audio": spec.audio(64, 96),
    "imu": spec.imu(50, 10.0),
    "event": spec.event(64),
    "point": spec.point(256),
}

SCENE = ("video", "thermal", "depth", "audio", "event", "point")
"""Modalities trained together on the same scenes, and so bound to each other."""

PARTNER: Mapping[str, str] = {name: "thermal" if name == "video" else "video" for name in SCENE}
"""Modality in whose embeddings a sample's scene is retrieved; video binds the others, like images in ImageBind."""


def load_centers(modality: str) -> Centers:
    """Text vectors (k, 384) of the classes of `modality`; does not need a trained trunk."""
    return Centers.load(FOLDER / f"{'scene' if modality in SCENE else modality}.centers.safetensors")


@dataclass(frozen=True, slots=True, eq=False)
class Bindlite:
    """One frozen trunk of half a million parameters; implements `Encoder`. See docs/bindlite.md."""

    modality: Modality
    fingerprint: str
    name: str = "bindlite"
    embedding_dim: int = 384
    license: str = "Apache-2.0"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, modality: str, weights: Path | None = None) -> Bindlite:
        """The trunk of `modality`, without importing torch. Its weights are part of the package.

        Raises:
            ConfigError: there is no trunk for this modality, or a weight file is given.
        """
        _check(modality)
        if weights is not None:
            raise ConfigError(
                f"bindlite brings its own weights and cannot read `{weights}`", hint="leave `--weights` out"
            )
        stored = (FOLDER / f"{modality}.safetensors").read_bytes()
        return cls(MODALITIES[modality], hashlib.sha256(stored).hexdigest())

    def centers(self) -> Centers:
        """Text vectors (k, 384) of the trunk's training classes; all scene modalities share theirs."""
        return load_centers(self.modality.name)

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding (n, 384), float32 on the CPU, in eval mode and without gradients.

        Raises:
            DependencyError: torch is not installed.
        """
        try:
            import torch
            from safetensors.torch import load_file
        except ModuleNotFoundError as error:
            raise DependencyError("torch", extra="calibrate", purpose="the encoder bindlite") from error
        from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk

        with torch.random.fork_rng(devices=[]):  # the initial weights are discarded and must not change a seeded run
            trunk = Trunk(TRUNKS[self.modality.name])
        stored = load_file(FOLDER / f"{self.modality.name}.safetensors")
        trunk.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
        return trunk.eval().requires_grad_(False)


def blank(modality: str, weights: Path | None = None) -> Blank:
    """The trunk of `modality` without its weights.

    Raises:
        ConfigError: there is no trunk for this modality.
    """
    _check(modality)
    from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk

    config = TRUNKS[modality]
    return Blank(MODALITIES[modality], config.embedding_dim, on_meta(lambda: Trunk(config)), brings_centers=True)


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise ConfigError(
            f"bindlite has no trunk for the modality `{modality}`", hint=f"there is: {', '.join(MODALITIES)}"
        )
