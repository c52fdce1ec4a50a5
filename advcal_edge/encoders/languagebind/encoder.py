"""LanguageBind as an `Encoder`: from a published folder to its sensor, its frozen trunk, and its text tower."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import spec
from advcal_edge.encoders.blank import Blank, on_meta
from advcal_edge.encoders.languagebind.configuration import (
    MODEL_TYPES,
    Configuration,
    published_configuration,
    read_configuration,
)
from advcal_edge.encoders.weights_folder import open_place
from advcal_edge.errors import ConfigError, DependencyError, InputError
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

    from advcal_edge.encoders.checkpoint import Checkpoint
    from advcal_edge.encoders.languagebind.text import LanguagebindText

LICENSE = "MIT"
"""License of LanguageBind's repository, which publishes the checkpoints; its data VIDAL-10M is CC-BY-NC-4.0."""

TOWER = ("vision_model.", "visual_projection.")
TEXT = ("text_model.", "text_projection.")
SCALE = "logit_scale"


@dataclass(frozen=True, slots=True, eq=False)
class Languagebind:
    """One frozen tower of a published folder; implements `Encoder`."""

    modality: Modality
    configuration: Configuration
    fingerprint: str
    metadata: Mapping[str, Any]
    weights: Path
    name: str = "languagebind"
    license: str = LICENSE

    @property
    def embedding_dim(self) -> int:
        """Width d of the embedding space."""
        return self.configuration.embedding_dim

    @classmethod
    def load(cls, modality: str, weights: Path | None) -> Languagebind:
        """The tower of `modality` in the folder `weights`, which is read once for checks and its hash.

        Raises:
            ConfigError: LanguageBind has no tower for this modality, or no folder is given.
            InputError: the folder is that of another modality, or cannot be used.
            DependencyError: torch is not installed.
        """
        _check(modality)
        folder = _folder(weights)
        configuration = read_configuration(folder)
        if configuration.modality != modality:
            raise InputError(
                f"`{folder}` holds the tower for {configuration.modality}; expected that for {modality}",
                hint=f"`--modality {configuration.modality}`, or the folder of {MODEL_TYPES[modality]}",
            )
        sensor = modality_of(configuration, folder)
        _need_torch()
        from advcal_edge.encoders.checkpoint import digest

        checkpoint = _read(folder, (*TOWER, SCALE))
        tensors = checkpoint.tensors
        metadata = {"logit_scale": _scale(tensors, folder), **checkpoint.metadata}
        fingerprint = digest(tensors)
        _trunk(configuration, tensors, folder)
        return cls(sensor, configuration, fingerprint, metadata, folder)

    def centers(self) -> None:
        """None: LanguageBind's centers come from its text tower, with your own prompts."""
        return

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding (n, d), float32 on the CPU, in eval mode and without gradients.

        Raises:
            InputError: the folder has changed and can no longer be used.
        """
        return _trunk(self.configuration, _read(self.weights, TOWER).tensors, self.weights)


def load_text(weights: Path | None) -> LanguagebindText:
    """The text tower of the folder `weights`; all published folders have the same one, except for the logit scale.

    Raises:
        ConfigError: no folder is given.
        InputError: the folder cannot be used.
        DependencyError: torch or tokenizers is not installed.
    """
    folder = _folder(weights)
    configuration = read_configuration(folder)
    _need_torch()
    import torch

    from advcal_edge.encoders.checkpoint import load_exactly
    from advcal_edge.encoders.languagebind.text import LanguagebindText, TextTrunk, read_tokenizer

    tokenizer = read_tokenizer(folder, configuration.text)
    checkpoint = _read(folder, (*TEXT, SCALE))
    tensors = checkpoint.tensors
    scale = _scale(tensors, folder)
    with torch.device("meta"):
        trunk = TextTrunk(configuration.text, configuration.embedding_dim)
    load_exactly(trunk, tensors, f"`{folder}`")
    trunk.eval().requires_grad_(False)
    source = f"text tower of LanguageBind in `{folder.name}`"
    return LanguagebindText(tokenizer, trunk, 1 / scale, source, checkpoint.notes)


def blank(modality: str, weights: Path | None = None) -> Blank:
    """The tower of `modality` without its weights, of the size that the folder `weights` says, if it is there.

    Raises:
        ConfigError: LanguageBind has no tower for this modality.
        InputError: the folder says nothing that can be used.
        DependencyError: torch is not installed.
    """
    _check(modality)
    _need_torch()
    from advcal_edge.encoders.languagebind.trunk import Trunk

    there = weights is not None and weights.exists()
    configuration = read_configuration(weights) if weights is not None and there else published_configuration(modality)
    sensor = modality_of(configuration, weights or Path(MODEL_TYPES[modality]))
    return Blank(sensor, configuration.embedding_dim, on_meta(lambda: Trunk(configuration)), brings_centers=False)


def _check(modality: str) -> None:
    if modality not in MODEL_TYPES:
        raise ConfigError(
            f"languagebind has no tower for the modality `{modality}`", hint=f"there is: {', '.join(MODEL_TYPES)}"
        )


def _folder(weights: Path | None) -> Path:
    if weights is None:
        raise ConfigError(
            "languagebind brings no weights; expected a folder that its authors publish", hint="`--weights FOLDER`"
        )
    return open_place(weights)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError("torch", extra="calibrate", purpose="the encoder languagebind") from error


def _read(folder: Path, starts: tuple[str, ...]) -> Checkpoint:
    from advcal_edge.encoders.languagebind.weights import read_plain

    return read_plain(folder, lambda name: name.startswith(starts))


def _scale(tensors: dict[str, Tensor], folder: Path) -> float:
    """Factor of similarities; the checkpoint stores its logarithm."""
    from advcal_edge.encoders.languagebind.weights import take

    stored = take(tensors, SCALE, folder)
    scale = math.exp(stored.item()) if stored.numel() == 1 else math.nan
    if not math.isfinite(scale):
        raise InputError(f"`{SCALE}` in `{folder}` is {stored}; expected one finite number")
    return scale


def _trunk(configuration: Configuration, tensors: dict[str, Tensor], folder: Path) -> nn.Module:
    """The tower with these tensors as its parameters; updates are merged in place."""
    import torch

    from advcal_edge.encoders.checkpoint import load_exactly
    from advcal_edge.encoders.languagebind.trunk import Trunk
    from advcal_edge.encoders.languagebind.weights import merge_updates

    merge_updates(tensors, configuration.vision, folder)
    kernel = "vision_model.embeddings.patch_embedding.weight"
    if configuration.vision.class_token_a_frame and kernel in tensors and tensors[kernel].ndim == 5:
        tensors[kernel] = tensors[kernel].squeeze(2)  # a tube of one frame
    with torch.device("meta"):
        trunk = Trunk(configuration)
    load_exactly(trunk, tensors, f"`{folder}`")
    return trunk.eval().requires_grad_(False)


def modality_of(configuration: Configuration, folder: Path) -> Modality:
    """The input of a folder's tower.

    Raises:
        InputError: an image tower for frames that are not square.
    """
    sizes = configuration.vision
    if configuration.modality == "audio":
        return audio(sizes.height, sizes.width, sizes.sample_rate)
    if sizes.height != sizes.width:
        raise InputError(
            f"`config.json` in `{folder}` asks for {configuration.modality} frames of {sizes.height} x {sizes.width};"
            " expected square ones"
        )
    if configuration.modality == "depth":
        return depth(sizes.height, sizes.max_depth)
    if configuration.modality == "video":
        return video(sizes.height, sizes.frames)
    return spec.thermal(sizes.height) if configuration.modality == "thermal" else spec.image(sizes.height)


def video(size: int, frames: int) -> Modality:
    """One clip over the whole recording (`seconds` 0), its frames spread evenly from the first to the last."""
    return replace(spec.video(size, frames), settings={"clips": 1.0, "seconds": 0.0})


def audio(mels: int, frames: int, rate: float) -> Modality:
    """One spectrogram; a shorter recording is repeated (`repeat` 1) instead of padded.

    LanguageBind stacks three spectrograms, which differ only if a recording is longer than one of them. Here one
    serves as all three, so that an attack changes one sound; `clips` is the number taken from a longer recording.
    """
    return replace(spec.audio(mels, frames), settings={"rate": rate, "clips": 1.0, "repeat": 1.0})


def depth(size: int, far: float) -> Modality:
    """Distance (n, 1, size, size) as a share of `far_m` metres, at which it is clipped."""
    return spec.ranging(size).with_settings({"far_m": far})
