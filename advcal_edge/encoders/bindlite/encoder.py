"""Bindlite as an `Encoder`: which files belong to a modality, and how they become a module."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advcal_edge import spec
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent
MODALITIES = {"image": spec.image(64), "thermal": spec.thermal(64)}


@dataclass(frozen=True, slots=True)
class Bindlite:
    """One frozen trunk of half a million parameters; implements `Encoder`. See docs/bindlite.md."""

    modality: Modality
    fingerprint: str
    name: str = "bindlite"
    embedding_dim: int = 384
    license: str = "Apache-2.0"

    @classmethod
    def load(cls, modality: str) -> Bindlite:
        """The trunk of `modality`, `image` or `thermal`; needs no torch.

        Raises:
            ConfigError: there is no trunk for this modality.
        """
        if modality not in MODALITIES:
            raise ConfigError(
                f"bindlite has no trunk for the modality `{modality}`", hint=f"there is: {', '.join(MODALITIES)}"
            )
        weights = (FOLDER / f"{modality}.safetensors").read_bytes()
        return cls(MODALITIES[modality], hashlib.sha256(weights).hexdigest())

    def centers(self) -> Centers:
        """Text vectors (k, 384) of the classes the trunk was trained on."""
        return Centers.load(FOLDER / f"{self.modality.name}.centers.safetensors")

    def module(self) -> nn.Module:
        """Physical x (n, c, 64, 64) -> embedding (n, 384), float32 on the CPU, in eval mode and without gradients.

        Raises:
            DependencyError: torch is not installed.
        """
        try:
            import torch
            from safetensors.torch import load_file
        except ModuleNotFoundError as error:
            raise DependencyError("torch", extra="calibrate", purpose="the encoder bindlite") from error
        from advcal_edge.encoders.bindlite.trunk import IMAGE, THERMAL, Trunk

        with torch.random.fork_rng(devices=[]):  # the initial weights are thrown away: no draw may change a seeded run
            trunk = Trunk(IMAGE if self.modality.name == "image" else THERMAL)
        stored = load_file(FOLDER / f"{self.modality.name}.safetensors")
        trunk.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
        return trunk.eval().requires_grad_(False)
