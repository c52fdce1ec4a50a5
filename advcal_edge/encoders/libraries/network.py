"""Networks of transformers, or one tower of a model of several, filled with the tensors of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import read_checkpoint
from advcal_edge.encoders.libraries.folder import Folder
from advcal_edge.encoders.libraries.tower import load_library, quiet
from advcal_edge.encoders.naming import listed
from advcal_edge.encoders.weights_folder import find_weights
from advcal_edge.errors import InputError, first_line

LARGER = 2  # a model without its head is no larger than what was stored of it


@dataclass(frozen=True, slots=True)
class Part:
    """One tower of a model of several: its class, its section of the configuration, its tensors, what it returns."""

    network: str
    section: str
    starts: tuple[str, ...]
    output: str


def fill_network(folder: Folder, part: Part | None) -> tuple[nn.Module, dict[str, Tensor], tuple[str, ...]]:
    """A network, or one part of it, with the folder's tensors, which are returned too, and what there is to say.

    Raises:
        InputError: the weights cannot be read, or do not fit the configuration.
    """
    library = load_library("transformers", "transformers", "hf", "a tower of transformers")
    starts = part.starts if part else ("",)
    checkpoint = read_checkpoint(find_weights(folder.path), lambda key: key.startswith(starts))
    config = folder.config if part is None else getattr(folder.config, part.section)
    if part is not None and "projection_dim" in folder.document:
        config.projection_dim = folder.config.projection_dim
    kind = getattr(library, part.network) if part else class_of(folder, library)
    network, missing = _filled(kind, config, checkpoint.tensors, folder)
    notes = checkpoint.notes
    if missing and all(".pooler." in f".{key}" for key in missing):  # of a classifier, which has none
        network, missing = _filled(kind, config, checkpoint.tensors, folder, add_pooling_layer=False)
        notes = (*notes, f"`{folder.path.name}` has no pooling layer: the embedding is the class token")
    if missing:
        raise InputError(
            f"the weights in `{folder.path}` lack {len(missing)} of its tensors: {listed(missing)}",
            hint="take `config.json` and weights from the same model",
        )
    return network, checkpoint.tensors, notes


def class_of(folder: Folder, library: Any) -> Any:
    """The library's class of this model type without a head.

    Raises:
        InputError: there is none.
    """
    if folder.kind == "clip_vision_model" and is_projected(folder):
        return library.CLIPVisionModelWithProjection
    try:
        return library.MODEL_MAPPING[type(folder.config)]
    except KeyError as error:
        raise InputError(
            f"transformers has no network without a head for `{folder.kind}` in `{folder.path}`",
            hint="expected a tower of images, or the Audio Spectrogram Transformer",
        ) from error


def is_projected(folder: Folder) -> bool:
    """Does a folder of CLIP's image tower alone hold the projection too?"""
    return folder.document.get("architectures") == ["CLIPVisionModelWithProjection"]


def _filled(
    kind: Any, config: Any, tensors: dict[str, Tensor], folder: Folder, **options: bool
) -> tuple[nn.Module, list[str]]:
    """A network with these tensors, and the names of those that it lacks; names of older versions are known."""
    try:
        with silent():
            _check_size(kind, config, tensors, folder, options)
            network, found = kind.from_pretrained(
                None, config=config, state_dict=dict(tensors), output_loading_info=True, dtype=torch.float32,
                attn_implementation="eager", local_files_only=True, **options,
            )  # fmt: skip
    except InputError:
        raise
    except Exception as error:  # the library's own, as for tensors of another shape
        raise InputError(
            f"the weights in `{folder.path}` do not fit `config.json`: {first_line(error)}",
            hint="take both from the same model",
        ) from error
    return network.eval(), sorted(found["missing_keys"])


def _check_size(
    kind: Any, config: Any, tensors: Mapping[str, Tensor], folder: Folder, options: Mapping[str, bool]
) -> None:
    """Refuse a configuration of a much larger model, before its missing tensors take memory."""
    with torch.device("meta"):
        asked = sum(parameter.numel() for parameter in kind(config, **options).parameters())
    stored = sum(tensor.numel() for tensor in tensors.values())
    if asked > LARGER * stored:
        raise InputError(
            f"`config.json` in `{folder.path}` asks for {asked:,} parameters, and its weights hold {stored:,}",
            hint="take both from the same model",
        )


@contextmanager
def silent() -> Iterator[None]:
    """Inside, transformers neither logs nor draws bars."""
    logs = load_library("transformers.utils.logging", "transformers", "hf", "a tower of transformers")
    shown = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        if shown:
            logs.enable_progress_bar()
