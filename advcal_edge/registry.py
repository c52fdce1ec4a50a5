"""Names that users can type, and the objects they refer to; a module loads only when its name is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from advcal_edge.errors import ConfigError

T = TypeVar("T")

ENCODERS: Mapping[str, str] = {
    "bindlite": "advcal_edge.encoders.bindlite:Bindlite.load",
    "imagebind": "advcal_edge.encoders.imagebind:Imagebind.load",
    "languagebind": "advcal_edge.encoders.languagebind:Languagebind.load",
    "unibind": "advcal_edge.encoders.unibind:Unibind.load",
}
"""Factories of encoders: (modality, weights) -> Encoder."""

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
}
"""Loaders of text towers: weights -> TextTower."""

ENTRY_POINTS = "advcal_edge.encoders"
"""Entry-point group in which other packages register encoders."""


def find_encoder(name: str) -> Any:
    """The factory of the encoder `name`: built in, an entry point, or the user's `package.module:factory`.

    Raises:
        ConfigError: no encoder of that name, or its code cannot be imported.
    """
    from importlib.metadata import entry_points  # slow to import, and needed for nothing else in deployment

    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if ":" in name:
        return load(name)
    return load(choose("encoder", name, {**installed, **ENCODERS}))


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
