"""Names that users can type, and the objects they refer to; a module loads only when its name is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

from advcal_edge.errors import ConfigError

T = TypeVar("T")

ENCODERS: Mapping[str, str] = {
    "bindlite": "advcal_edge.encoders.bindlite:Bindlite.load",
    "imagebind": "advcal_edge.encoders.imagebind:Imagebind.load",
    "languagebind": "advcal_edge.encoders.languagebind:Languagebind.load",
    "unibind": "advcal_edge.encoders.unibind:Unibind.load",
    "hf": "advcal_edge.encoders.libraries.huggingface:load",
    "siglip": "advcal_edge.encoders.libraries.huggingface:load_siglip",
    "dinov2": "advcal_edge.encoders.libraries.huggingface:load_dinov2",
}
"""Factories of encoders: (modality, weights) -> Encoder."""

FAMILIES: Mapping[str, str] = {
    "openclip": "advcal_edge.encoders.libraries.openclip:load",
    "timm": "advcal_edge.encoders.libraries.timm:load",
}
"""Libraries of many models, one of which is named as `family:MODEL`: (modality, weights, argument) -> Encoder."""

FOLDERS = ("hf", "siglip", "dinov2")
"""Encoders that a user may write together with their weights, `hf:FOLDER`; the two are kept apart from there on."""

BLANKS: Mapping[str, str] = {
    "bindlite": "advcal_edge.encoders.bindlite.encoder:blank",
    "imagebind": "advcal_edge.encoders.imagebind.encoder:blank",
    "languagebind": "advcal_edge.encoders.languagebind.encoder:blank",
    "unibind": "advcal_edge.encoders.unibind.encoder:blank",
}
"""Those whose size is known without their weights: (modality, weights) -> Blank."""

TEXT_TOWERS: Mapping[str, str] = {
    "imagebind": "advcal_edge.encoders.imagebind:load_text",
    "languagebind": "advcal_edge.encoders.languagebind:load_text",
    "hf": "advcal_edge.encoders.libraries.huggingface_text:load",
    "siglip": "advcal_edge.encoders.libraries.huggingface_text:load_siglip",
}
"""Loaders of text towers: weights -> TextTower."""

TEXT_FAMILIES: Mapping[str, str] = {"openclip": "advcal_edge.encoders.libraries.openclip:load_text"}
"""Text towers of `FAMILIES`: (weights, argument) -> TextTower."""

ENTRY_POINTS = "advcal_edge.encoders"
"""Entry-point group in which other packages register encoders."""


def find_encoder(name: str) -> Any:
    """The factory of the encoder `name`: built in, an entry point, or the user's `package.module:factory`.

    Raises:
        ConfigError: no encoder of that name, or its code cannot be imported.
    """
    from importlib.metadata import entry_points  # slow to import, and needed for nothing else in deployment

    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return _find("encoder", name, {**installed, **ENCODERS}, FAMILIES) or load(name)


def find_text_tower(name: str) -> Any:
    """The loader of the text tower of the encoder `name`.

    Raises:
        ConfigError: this encoder has none.
    """
    kind = "encoder with a text tower"
    found = _find(kind, name, TEXT_TOWERS, TEXT_FAMILIES)
    if found is None:
        raise unknown(kind, name, _names(TEXT_TOWERS, TEXT_FAMILIES))
    return found


def is_built_in(name: str) -> bool:
    """Is the encoder `name` code of this package, or of a library that one of its families loads?"""
    family, _, argument = name.partition(":")
    return name in ENCODERS or (family in FAMILIES and bool(argument))


def split_folder(name: str, weights: str | None) -> tuple[str, str | None]:
    """Encoder and weights of what a user wrote, where `hf:FOLDER` names both.

    Raises:
        ConfigError: weights are named twice.
    """
    encoder, _, folder = name.partition(":")
    if not folder or encoder not in FOLDERS:
        return name, weights
    if weights is not None:
        raise ConfigError(
            f"`--encoder {name}` and `--weights {weights}` both name weights; expected one of them",
            hint=f"`--encoder {encoder}` with the `--weights` that you mean",
        )
    return encoder, folder


def _find(kind: str, name: str, table: Mapping[str, str], families: Mapping[str, str]) -> Any:
    """What `name` refers to in a table or a family; None for `module:attribute`, which may be anyone's."""
    family, colon, argument = name.partition(":")
    if family in families and argument:
        return partial(load(families[family]), argument=argument)
    if family in families and not argument:
        raise ConfigError(f"the encoder `{family}` is one of many models", hint=f"name one: `--encoder {family}:MODEL`")
    if colon and family in table:
        raise ConfigError(f"the encoder `{family}` takes no name after it: `{name}`", hint=f"`--encoder {family}`")
    if colon:
        return None
    if name in table:
        return load(table[name])
    raise unknown(kind, name, _names(table, families))


def _names(table: Mapping[str, str], families: Mapping[str, str]) -> list[str]:
    return [*table, *(f"{family}:MODEL" for family in families)]


def load(place: str) -> Any:
    """Import the object that `package.module:attribute` names.

    Raises:
        ConfigError: it cannot be imported, or has no such attribute.
    """
    module, _, attribute = place.partition(":")
    try:
        target: Any = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, and one of its imports does not
        raise ConfigError(
            f"`{place}` cannot be imported: {error}",
            hint="`package.module:factory`; its folder must be installed or on PYTHONPATH",
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"`{place}`: {error}", hint="`package.module:factory`, the factory at the module's top"
        ) from error
    return target


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Look `name` up.

    Raises:
        ConfigError: unknown; the message lists the valid names and the nearest match.
    """
    if name in table:
        return table[name]
    raise unknown(kind, name, table)


def unknown(kind: str, name: str, names: Iterable[str]) -> ConfigError:
    """The error for an unknown name, with the nearest match as hint."""
    import difflib

    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return ConfigError(
        f"unknown {kind} `{name}`; expected one of: {', '.join(f'`{k}`' for k in known)}",
        hint=f"did you mean `{close[0]}`?" if close else None,
    )
