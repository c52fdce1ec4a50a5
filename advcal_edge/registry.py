"""Names a user can type, and what they stand for; modules load only when their name is chosen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from advcal_edge.errors import ConfigError

T = TypeVar("T")

ENCODERS: Mapping[str, str] = {"bindlite": "advcal_edge.encoders.bindlite:Bindlite"}


def load_encoder_class(name: str) -> Any:
    """The encoder class registered as `name`; its module is imported here and not before.

    Raises:
        ConfigError: no encoder of that name.
    """
    module, _, attribute = choose("encoder", name, ENCODERS).partition(":")
    return getattr(import_module(module), attribute)


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
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return ConfigError(
        f"unknown {kind} `{name}`; expected one of: {', '.join(f'`{k}`' for k in known)}",
        hint=f"did you mean `{close[0]}`?" if close else None,
    )
