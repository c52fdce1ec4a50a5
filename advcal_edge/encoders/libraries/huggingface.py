"""Towers of transformers from a local folder: `hf` for any, `siglip` and `dinov2` for one kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from advcal_edge import spec
from advcal_edge.encoders.libraries.folder import Folder, Frames
from advcal_edge.encoders.libraries.network import Part, class_of, fill_network, is_projected
from advcal_edge.encoders.libraries.tower import (
    LibraryEncoder,
    Tower,
    check_modality,
    encoder,
    load_library,
    need_weights,
)
from advcal_edge.errors import InputError

SPECTROGRAMS = "audio-spectrogram-transformer"


IMAGE: Mapping[str, Part] = {
    "clip": Part(
        "CLIPVisionModelWithProjection", "vision_config", ("vision_model.", "visual_projection."), "image_embeds"
    ),
    "siglip": Part("SiglipVisionModel", "vision_config", ("vision_model.",), "pooler_output"),
}
OWN_SOUNDS = "spectrograms of its own kind, with another window and other mels than this program's sensor makes"
READS: Mapping[str, str] = {"input_values": "the wave itself", "input_features": OWN_SOUNDS, "input_ids": "text"}
"""What a tower reads that this program does not make, by the library's name of its input."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "siglip": ("siglip", "siglip_vision_model"),
    "dinov2": ("dinov2", "dinov2_with_registers"),
}
"""Model types of the encoders that are named for one."""


def load(modality: str, weights: Path | None, name: str = "hf") -> LibraryEncoder:
    """The image tower, or the tower of spectrograms, in the folder `weights`, which may be that of a hub's cache.

    Raises:
        ConfigError: no folder, or another modality than the tower's.
        InputError: a tower that reads something else, or a folder that cannot be used.
        DependencyError: transformers is not installed.
    """
    folder = open_folder(name, weights)
    if folder.kind == SPECTROGRAMS:
        check_modality(f"{name} in `{folder.path.name}`", modality, "audio")
        return _spectrograms(folder, name)
    _check_input(folder)
    check_modality(f"{name} in `{folder.path.name}`", modality)
    frames = Frames.of(folder)
    network, tensors, notes = fill_network(folder, IMAGE.get(folder.kind))
    tower = Tower(network, frames.mean, frames.std, Reader(folder, network, "pixel_values"))
    return _encoder(folder, name, spec.image(frames.side), tower, tensors, notes)


def load_siglip(modality: str, weights: Path | None) -> LibraryEncoder:
    """The image tower of SigLIP or SigLIP 2 in the folder `weights`.

    Raises:
        ConfigError, InputError, DependencyError: as for `load`; also a folder of another model.
    """
    return load(modality, weights, "siglip")


def load_dinov2(modality: str, weights: Path | None) -> LibraryEncoder:
    """The image tower of DINOv2 in the folder `weights`, with registers or without.

    Raises:
        ConfigError, InputError, DependencyError: as for `load`; also a folder of another model.
    """
    return load(modality, weights, "dinov2")


class Reader:
    """Calls a network on its normalised input, and takes the embedding out of what it returns."""

    def __init__(self, folder: Folder, network: nn.Module, argument: str, *, transposed: bool = False) -> None:
        part = IMAGE.get(folder.kind)
        self.output = part.output if part else None
        if folder.kind == "clip_vision_model" and is_projected(folder):
            self.output = "image_embeds"
        self.argument, self.transposed = argument, transposed
        self.class_token = any(key.endswith("cls_token") for key, _ in network.named_parameters())

    def __call__(self, network: nn.Module, x: Tensor) -> Tensor:
        """Normalised x (n, c, h, w) to the projection, the pooled state, the class token, or the mean of all tokens."""
        out = network(**{self.argument: x.flatten(1, 2).transpose(1, 2) if self.transposed else x})
        z: Tensor | None = getattr(out, self.output or "pooler_output", None)
        if z is not None:
            return z.flatten(1)
        states: Tensor = out.last_hidden_state
        if states.ndim == 4:  # of a convolutional network, (n, c, h, w)
            return states.mean(dim=(2, 3))
        return states[:, 0] if self.class_token else states.mean(dim=1)


def open_folder(name: str, weights: Path | None) -> Folder:
    """The folder of weights for the encoder `name`, which may be for one kind of model.

    Raises:
        ConfigError: no weights were given.
        InputError: a folder of another kind, or one that cannot be used.
        DependencyError: transformers is not installed.
    """
    folder = Folder.open(need_weights(name, weights))
    kinds = KINDS.get(name)
    if kinds is not None and folder.kind not in kinds:
        expected = " or ".join(f"`{kind}`" for kind in kinds)
        raise InputError(
            f"`{folder.path}` holds a model of the type `{folder.kind}`; expected {expected}",
            hint="`--encoder hf` takes any tower of transformers",
        )
    return folder


def _spectrograms(folder: Folder, name: str) -> LibraryEncoder:
    """The Audio Spectrogram Transformer: kaldi's log-mel energies, as `runtime.sensors.audio` makes them."""
    settings = folder.preparation()
    try:
        mels, frames = int(settings["num_mel_bins"]), int(settings["max_length"])
        rate, mean, std = (float(settings[key]) for key in ("sampling_rate", "mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the feature extractor in `{folder.path}` does not say all of its settings: {error!r}"
        ) from error
    if settings.get("do_normalize", True) is False:
        mean, std = 0.0, 0.5
    if not 3 <= mels <= 4096 or not 1 <= frames <= 2**16 or not std > 0:
        raise InputError(f"the feature extractor in `{folder.path}` asks for {mels} mels, {frames} frames, std {std:g}")
    modality = spec.audio(mels, frames).with_settings({"rate": rate})
    network, tensors, notes = fill_network(folder, None)
    reader = Reader(folder, network, "input_values", transposed=True)
    return _encoder(folder, name, modality, Tower(network, [mean], [2 * std], reader), tensors, notes)


def _encoder(
    folder: Folder, name: str, modality: spec.Modality, tower: Tower, tensors: dict[str, Tensor], notes: tuple[str, ...]
) -> LibraryEncoder:
    metadata: dict[str, Any] = {"model_type": folder.kind, **({"notes": list(notes)} if notes else {})}
    return encoder(name, modality, tower, tensors, folder.document.get("license"), metadata)


def _check_input(folder: Folder) -> None:
    """Refuse a model that reads something else than images."""
    if folder.kind in IMAGE:
        return
    if hasattr(folder.config, "text_config"):
        sounds = f"; its tower of sound reads {OWN_SOUNDS}" if hasattr(folder.config, "audio_config") else ""
        words = f"has several towers{sounds}"
    else:
        library = load_library("transformers", "transformers", "hf", "a tower of transformers")
        found = str(class_of(folder, library).main_input_name)
        if found == "pixel_values":
            return
        words = f"reads {READS.get(found, f'`{found}`')}"
    raise InputError(
        f"the model in `{folder.path}` is of the type `{folder.kind}`, which {words}; expected one tower of images,"
        f" {' or '.join(f'`{kind}`' for kind in IMAGE)}, or `{SPECTROGRAMS}`",
        hint="others need a factory of your own, `package.module:factory`: docs/encoders.md",
    )
