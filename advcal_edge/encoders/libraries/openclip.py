"""Towers of open_clip: `openclip:NAME` and a checkpoint of that model, image tower and text tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from advcal_edge import limits, spec
from advcal_edge.documents import read_object
from advcal_edge.encoders.checkpoint import digest, load_exactly, read_checkpoint
from advcal_edge.encoders.libraries.tower import (
    LibraryEncoder,
    LibraryText,
    Tower,
    check_modality,
    encoder,
    load_library,
    need_weights,
    quiet,
    square,
)
from advcal_edge.encoders.weights_folder import FILES as STANDARD, find_weights, member, open_place
from advcal_edge.errors import ConfigError, InputError, first_line
from advcal_edge.registry import unknown

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", *STANDARD)
CONFIG = "open_clip_config.json"
VISUAL = "visual."


def load(modality: str, weights: Path | None, argument: str) -> LibraryEncoder:
    """The image tower of the model `argument` in the checkpoint `weights`: a file, a folder, or a cache of it.

    Raises:
        ConfigError: no such model, another modality than image, or no weights.
        InputError: a checkpoint that cannot be used, or whose input normalisation is not known.
        DependencyError: open_clip is not installed.
    """
    name = f"openclip:{argument}"
    check_modality(name, modality)
    place = open_place(need_weights(name, weights))
    library = load_library("open_clip", "open_clip_torch", "openclip", f"the encoder `{name}`")
    model = _build(library, argument)
    mean, std = _statistics(library, place, argument)
    network, file = model.visual, _file(place)
    state = network.state_dict()
    checkpoint = read_checkpoint(file, lambda key: key.startswith(VISUAL) and key.removeprefix(VISUAL) in state)
    load_exactly(network, checkpoint.tensors, f"`{file}`", {key: VISUAL + key for key in state})
    size = network.image_size
    tower = Tower(network, mean, std, _read)
    return encoder(
        name,
        spec.image(square((size, size) if isinstance(size, int) else size, f"`{name}`")),
        tower,
        checkpoint.tensors,
        None,
        checkpoint.metadata,
    )


def load_text(weights: Path | None, argument: str) -> LibraryText:
    """The text tower of the model `argument` in the same checkpoint.

    Raises:
        ConfigError: no such model, or no weights.
        InputError: a checkpoint that cannot be used, or a tokenizer that is not beside it.
        DependencyError: open_clip is not installed.
    """
    name = f"openclip:{argument}"
    place = open_place(need_weights(name, weights))
    library = load_library("open_clip", "open_clip_torch", "openclip", f"the text tower of `{name}`")
    tokenizer = _tokenizer(library, place, argument)
    model = _build(library, argument)
    model.visual = nn.Identity()
    state, file = model.state_dict(), _file(place)
    checkpoint = read_checkpoint(file, state.__contains__)
    load_exactly(model, checkpoint.tensors, f"`{file}`")
    model.eval().requires_grad_(False)

    def read(prompts: list[str]) -> Tensor:
        z: Tensor = model.encode_text(tokenizer(prompts))
        return z

    source = f"text tower of {name} {digest(checkpoint.tensors)[:12]}"
    return LibraryText(1 / float(model.logit_scale.exp()), source, checkpoint.notes, read)


def _build(library: Any, name: str) -> Any:
    """The model at random weights."""
    if name not in library.list_models():
        raise unknown("model of open_clip", name, library.list_models())
    try:
        with quiet():
            return library.create_model(name, pretrained=None, load_weights=False, pretrained_text=False)
    except Exception as error:  # of parts that are fetched from elsewhere
        raise ConfigError(
            f"open_clip cannot build `{name}` from what is here: {first_line(error)}",
            hint="a model all of whose parts are open_clip's own",
        ) from error


def _file(place: Path) -> Path:
    return find_weights(place, FILES) if place.is_dir() else place


def _statistics(library: Any, place: Path, name: str) -> tuple[list[float], list[float]]:
    """Mean and deviation per colour: of the folder's configuration, else those on which all published weights agree."""
    found: Mapping[str, Any] = {}
    if place.is_dir() and (place / CONFIG).exists():
        document = read_object(member(place, CONFIG), limits.DOCUMENT_BYTES, InputError)
        found = document["preprocess_cfg"] if isinstance(document.get("preprocess_cfg"), dict) else {}
    if not found:
        published = [library.get_pretrained_cfg(name, tag) for tag in library.list_pretrained_tags_by_model(name)]
        kinds = {(tuple(one.get("mean") or ()), tuple(one.get("std") or ())) for one in published}
        if len(kinds) > 1:
            raise InputError(
                f"the published weights of `openclip:{name}` were trained on {len(kinds)} different normalisations, and"
                f" `{place}` does not say which",
                hint=f"give the folder that was published, with `{CONFIG}` in it",
            )
        found = dict(zip(("mean", "std"), kinds.pop() if kinds else (), strict=False))
    try:
        mean, std = (
            [float(value) for value in found.get(key) or default]
            for key, default in (("mean", library.OPENAI_DATASET_MEAN), ("std", library.OPENAI_DATASET_STD))
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"`{CONFIG}` in `{place}` has no `mean` and `std` of colours: {error}") from error
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise InputError(f"`{CONFIG}` in `{place}` says mean {mean}, deviation {std}; expected three of each")
    return mean, std


def _tokenizer(library: Any, place: Path, name: str) -> Any:
    """Prompts to token numbers; one that is not open_clip's own is read from the folder of the weights."""
    text = library.get_model_config(name).get("text_cfg", {})
    if "hf_tokenizer_name" not in text:
        return library.get_tokenizer(name)
    if not place.is_dir() or not (place / "tokenizer.json").exists():
        raise InputError(
            f"`openclip:{name}` reads prompts with the tokenizer `{text['hf_tokenizer_name']}`, and there is no"
            f" `tokenizer.json` in `{place}`",
            hint="give the folder that was published, with its tokenizer",
        )
    member(place, "tokenizer.json")
    load_library("transformers", "transformers", "hf", f"the tokenizer of `openclip:{name}`")
    safe = {"local_files_only": True, "trust_remote_code": False}
    context = text.get("context_length", 77)
    try:
        with quiet():
            return library.tokenizer.HFTokenizer(
                str(place), context_length=context, **text.get("tokenizer_kwargs", {}), **safe
            )
    except Exception as error:  # of transformers, whatever it is
        raise InputError(
            f"the tokenizer in `{place}` cannot be read: {first_line(error)}",
            hint="expected the files of the published folder",
        ) from error


def _read(network: nn.Module, x: Tensor) -> Tensor:
    out = network(x)
    z: Tensor = out[0] if isinstance(out, tuple) else out  # with its tokens
    return z
