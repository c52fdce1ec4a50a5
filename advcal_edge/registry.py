"""Names a user can type, and what they stand for; modules load only when their name is chosen."""

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

TEXT_TOWERS: Mapping[str, str] = {
    "imagebind": "advcal_edge.encoders.imagebind:load_text",
    "languagebind": "advcal_edge.encoders.languagebind:load_text",
}
"""Loaders of text towers: weights -> TextTower."""

ENTRY_POINTS = "advcal_edge.encoders"
"""Group in which other packages register encoders of their own."""


def find_encoder(name: str) -> Any:
    """The factory of the encoder `name`: built in, an entry point, or `package.module:factory` of the user's own.

    Raises:
        ConfigError: no encoder of that name, or its code cannot be imported.
    """
    from importlib.metadata import entry_points  # which takes longer to import than a robot needs for all else

    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if ":" in name:
        return load(name)
    return load(choose("encoder", name, {**installed, **ENCODERS}))


def load(place: str) -> Any:
    """What `package.module:attribute` names; its module is imported here and not before.

    Raises:
        ConfigError: it cannot be imported, or has no such attribute.
    """
    module, _, attribute = place.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something it needs is not
        raise ConfigError(
            f"`{place}` cannot be imported: {error}",
            hint="`package.module:factory`; its folder must be installed or on PYTHONPATH",
        ) from error
    except AttributeError as error:
        raise ConfigError(
            f"`{place}`: {error}", hint="`package.module:factory`, the factory at the module's top"
        ) from error
    return found


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Look `name` up.

    Raises:
        ConfigError: unknown; the message lists what exists and the nearest match.
    """
    if name in table:
        return table[name]
    raise unknown(kind, name, table)


def unknown(kind: str, name: str, names: Iterable[str]) -> ConfigError:
    """The error for a name that is in no table, with the nearest match as hint."""
    import difflib

    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return ConfigError(
        f"unknown {kind} `{name}`; expected one of: {', '.join(f'`{k}`' for k in known)}",
        hint=f"did you mean `{close[0]}`?" if close else None,
    )
