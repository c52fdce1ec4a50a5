"""An encoder without its weights, to count what it costs before they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from advcal_edge.encoders.base import open_encoder
from advcal_edge.registry import BLANKS, load
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn

Build = Callable[[], "nn.Module"]
"""A new trunk with each call, frozen: of an encoder in the registry on the meta device, which holds no numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Blank:
    """One modality's trunk: its input, the width d of its embedding, and whether it comes with semantic centers."""

    modality: Modality
    embedding_dim: int
    module: Build
    brings_centers: bool


def open_blank(name: str, modality: str, weights: Path | None) -> Blank:
    """The trunk of `name` for a modality, in its published size if `weights` is not there; others are opened.

    Raises:
        ConfigError: no such encoder, or none for this modality.
        InputError: a checkpoint that cannot be used.
        DependencyError: torch is not installed.
    """
    if name in BLANKS:
        return cast(Blank, load(BLANKS[name])(modality, weights))
    encoder = open_encoder(name, modality, weights)
    return Blank(encoder.modality, encoder.embedding_dim, encoder.module, encoder.centers() is not None)


def on_meta(build: Build) -> Build:
    """The same without numbers, built on the meta device."""

    def built() -> nn.Module:
        import torch

        with torch.device("meta"):
            module = build()
        return module.to("meta").eval().requires_grad_(False)  # what is from a configuration is elsewhere until here

    return built
