"""Text towers of transformers from a local folder: CLIP's and SigLIP's, with the library's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from advcal_edge.encoders.checkpoint import digest, read_checkpoint
from advcal_edge.encoders.libraries.folder import Folder
from advcal_edge.encoders.libraries.huggingface import open_folder
from advcal_edge.encoders.libraries.network import Part, fill_network, silent
from advcal_edge.encoders.libraries.tower import LibraryText, load_library
from advcal_edge.encoders.weights_folder import find_weights
from advcal_edge.errors import ConfigError, InputError, first_line

SCALE = "logit_scale"

TEXT: Mapping[str, Part] = {
    "clip": Part("CLIPTextModelWithProjection", "text_config", ("text_model.", "text_projection."), "text_embeds"),
    "siglip": Part("SiglipTextModel", "text_config", ("text_model.",), "pooler_output"),
}


def load(weights: Path | None, name: str = "hf") -> LibraryText:
    """The text tower of CLIP or SigLIP in the folder `weights`.

    Raises:
        ConfigError: no folder, or a model without a text tower.
        InputError: the folder cannot be used.
        DependencyError: transformers, or what its tokenizer needs, is not installed.
    """
    folder = open_folder(name, weights)
    if folder.kind not in TEXT:
        raise ConfigError(
            f"the model in `{folder.path}` is of the type `{folder.kind}`; expected one with a text tower:"
            f" {', '.join(TEXT)}",
            hint="without centers, `calibrate` takes class means of the training samples",
        )
    part = TEXT[folder.kind]
    tokenizer = _tokenizer(folder)
    network, tensors, notes = fill_network(folder, part)
    scale = read_checkpoint(find_weights(folder.path), lambda key: key == SCALE).tensors[SCALE]
    network.eval().requires_grad_(False)
    context = int(folder.config.text_config.max_position_embeddings)
    padding = "max_length" if folder.kind == "siglip" else True  # SigLIP was trained on full length, without a mask

    def read(prompts: list[str]) -> Tensor:
        words = tokenizer(prompts, padding=padding, truncation=True, max_length=context, return_tensors="pt")
        mask = {} if folder.kind == "siglip" else {"attention_mask": words["attention_mask"]}
        z: Tensor = getattr(network(input_ids=words["input_ids"], **mask), part.output)
        return z

    source = f"text tower of {folder.kind} in `{folder.path.name}` {digest(tensors)[:12]}"
    return LibraryText(1 / float(scale.exp()), source, notes, read)


def load_siglip(weights: Path | None) -> LibraryText:
    """The text tower of SigLIP or SigLIP 2 in the folder `weights`.

    Raises:
        ConfigError, InputError, DependencyError: as for `load`; also a folder of another model.
    """
    return load(weights, "siglip")


def _tokenizer(folder: Folder) -> Any:
    library = load_library("transformers", "transformers", "hf", "a text tower of transformers")
    try:
        with silent():
            return library.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library's own, also for packages that it lacks
        raise InputError(
            f"the tokenizer in `{folder.path}` cannot be read: {first_line(error)}",
            hint="expected `tokenizer.json` with `tokenizer_config.json`, or the files of the published folder",
        ) from error
