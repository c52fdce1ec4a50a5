"""Sizes of both towers, as the configuration of a folder gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transformer:
    """Sizes that both towers have."""

    width: int
    hidden: int
    depth: int
    heads: int
    activation: str
    norm_eps: float


@dataclass(frozen=True, slots=True)
class TextSizes:
    """The text tower."""

    transformer: Transformer
    vocabulary: int
    context: int


@dataclass(frozen=True, slots=True)
class VisionSizes:
    """The tower of a sensor: a grid of patches, and what its modality adds."""

    transformer: Transformer
    height: int
    width: int
    patch: int
    frames: int
    time_attention: bool
    time_mlp: bool
    class_token_a_frame: bool
    lora_rank: int
    lora_alpha: float
    max_depth: float
    sample_rate: float
    audio_mean: float
    audio_std: float

    @property
    def tokens(self) -> int:
        """Patches of one frame and the class token."""
        return (self.height // self.patch) * (self.width // self.patch) + 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """One folder."""

    modality: str
    embedding_dim: int
    text: TextSizes
    vision: VisionSizes
