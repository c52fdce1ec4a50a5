"""Image towers of timm: `timm:NAME` and a checkpoint of that model, without its classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from advcal_edge import limits, spec
from advcal_edge.documents import read_object
from advcal_edge.encoders.checkpoint import load_exactly, read_checkpoint
from advcal_edge.encoders.libraries.tower import (
    LibraryEncoder,
    Tower,
    check_modality,
    encoder,
    load_library,
    need_weights,
    quiet,
    square,
)
from advcal_edge.encoders.weights_folder import find_weights, member, open_place
from advcal_edge.errors import ConfigError, InputError, first_line
from advcal_edge.registry import unknown


def load(modality: str, weights: Path | None, argument: str) -> LibraryEncoder:
    """The model `argument` of timm with the checkpoint `weights`: a file, a published folder, or a hub's cache of it.

    Raises:
        ConfigError: no such model, another modality than image, or no weights.
        InputError: a checkpoint that cannot be used.
        DependencyError: timm is not installed.
    """
    name = f"timm:{argument}"
    check_modality(name, modality)
    place = open_place(need_weights(name, weights))
    library = load_library("timm", "timm", "timm", f"the encoder `{name}`")
    network = _build(library, argument)
    file = find_weights(place) if place.is_dir() else place
    published = _published(place, argument) if place.is_dir() else {}
    own: dict[str, Any] = dict(network.pretrained_cfg)
    settings = {**own, **{key: value for key, value in published.items() if value is not None}}
    mean, std, sides = _statistics(settings, f"the configuration of `{name}`")
    state = network.state_dict()
    checkpoint = read_checkpoint(file, state.__contains__)
    load_exactly(network, checkpoint.tensors, f"`{file}`")
    tagged = own.get("license") if "." in argument else None  # else the weights may be others
    tower = Tower(network, mean, std, _read)
    return encoder(
        name,
        spec.image(square(sides, f"the configuration of `{name}`")),
        tower,
        checkpoint.tensors,
        published.get("license") or tagged,
        checkpoint.metadata,
    )


def _build(library: Any, name: str) -> Any:
    """The network at random weights, without a classifier."""
    if ":" in name or "/" in name or not library.is_model(name):
        raise unknown("model of timm", name, library.list_models())
    try:
        with quiet():
            return library.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:  # the library's own, for a tag that it does not have
        raise ConfigError(
            f"timm cannot build `{name}`: {first_line(error)}",
            hint='`python -c "import timm; print(timm.list_models(pretrained=True))"` lists names with their tags',
        ) from error


def _published(folder: Path, name: str) -> Mapping[str, Any]:
    """What `config.json` of a published folder says of the input and the license; nothing without that file."""
    if not (folder / "config.json").exists():
        return {}
    path = member(folder, "config.json")
    document = read_object(path, limits.DOCUMENT_BYTES, InputError)
    found, architecture = document.get("pretrained_cfg"), document.get("architecture")
    if isinstance(architecture, str) and architecture != name.partition(".")[0]:
        raise InputError(
            f"`{path}` is of `{architecture[:80]}`; expected `{name}`", hint=f"`--encoder timm:{architecture}`"
        )
    return found if isinstance(found, dict) else {}


def _statistics(settings: Mapping[str, Any], where: str) -> tuple[list[float], list[float], list[int]]:
    """Mean and deviation of the three colours, and height and width."""
    try:
        mean, std = ([float(value) for value in settings[key]] for key in ("mean", "std"))
        channels, *sides = (int(value) for value in settings["input_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} says no `mean`, `std` and `input_size` of images: {error!r}") from error
    if channels != 3 or len(mean) != 3 or len(std) != 3 or len(sides) != 2 or min(std) <= 0:
        raise InputError(f"{where} asks for {channels} channels, mean {mean}, deviation {std}; expected colour images")
    return mean, std, sides


def _read(network: nn.Module, x: Tensor) -> Tensor:
    z: Tensor = network(x)
    return z
