"""Settings in layers: defaults, a modality's preset, a TOML file, `--set`, then flags; keys and types are checked."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from advcal_edge import documents
from advcal_edge.declarations import Setting
from advcal_edge.errors import ConfigError
from advcal_edge.registry import unknown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layer:
    """Nested values from one source; `origin` names it in error messages."""

    origin: str
    values: Mapping[str, Any]


def resolve(kind: type[T], layers: Sequence[Layer]) -> T:
    """Build the dataclass `kind`: its defaults, overridden key by key by each layer; later layers win.

    Raises:
        ConfigError: unknown key (with the nearest match), a value of the wrong type, or a missing required key.
    """
    chosen: dict[str, Any] = {}
    for layer in layers:
        _overlay(chosen, _typed(kind, layer.values, layer.origin, ""))
    return _build(kind, chosen, "")


def read_toml(path: Path) -> Layer:
    """A configuration file as a layer.

    Raises:
        ConfigError: unreadable or not TOML.
    """
    return Layer(f"`{path}`", documents.read_toml(path, ConfigError))


def parse_settings(settings: Sequence[str]) -> Layer:
    """`a.b=c` items as a layer; values stay text until the type of their key is known.

    Raises:
        ConfigError: an item without `=` or with an empty part in its key, or a key that is also a section.
    """
    values: dict[str, Any] = {}
    for item in settings:
        key, equals, text = item.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise ConfigError(f"`--set {item}` is no setting; expected `key=value`", hint="like `--set train.epochs=8`")
        section = values
        for part in parts[:-1]:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigError(f"`--set {item}`: `{part}` was already given a value of its own")
        section[parts[-1]] = text.strip()
    return Layer("`--set`", values)


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


@lru_cache(maxsize=64)  # a study builds the same few dataclasses for every cell
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _typed(kind: type, values: Mapping[str, Any], origin: str, prefix: str) -> dict[str, Any]:
    """Convert the values to the types that the fields of `kind` declare."""
    hints = _hints(kind)
    known = [field.name for field in fields(kind)]
    typed: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            error = unknown("setting", name, [f"{prefix}{k}" for k in known])
            raise ConfigError(f"{origin}: {error.message}", hint=error.hint)
        hint = hints[key]
        if is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: `{name}` is a section; expected keys below it, like `{name}.KEY=VALUE`")
            typed[key] = _typed(hint, value, origin, f"{name}.")  # type: ignore[arg-type]
        elif get_origin(hint) is Mapping:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{origin}: `{name}` is a section; expected keys below it, like `{name}.KEY=VALUE`")
            (_, kept) = get_args(hint)
            typed[key] = {str(k): _coerce(kept, v, f"{origin}: `{name}.{k}`") for k, v in value.items()}
        else:
            typed[key] = _coerce(hint, value, f"{origin}: `{name}`")
    return typed


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`; text is parsed, numbers are never rounded."""
    if hint != Setting and get_origin(hint) in (Union, types.UnionType):
        if value is None or value == "none":
            return None
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        error = unknown("value", str(value), get_args(hint))
        raise ConfigError(f"{where}: {error.message}", hint=error.hint)
    try:
        return _READERS[hint](value)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        expected = _EXPECTED.get(hint, str(hint))
        raise ConfigError(f"{where} is `{value}`; expected {expected}") from error


def _read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value]


def _read_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    number = int(value)
    if abs(number) > documents.LARGEST_INTEGER:
        raise ValueError
    return number


def _read_float(value: Any) -> float:
    if isinstance(value, str):
        return read_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return float(value)


def read_number(text: str) -> float:
    """Read `0.5`, `1e-3` or `4/255`.

    Raises:
        ValueError, ZeroDivisionError, OverflowError: not a number, or not finite.
    """
    if "e" in text.lower():  # an exponent could denote a huge number, which a fraction would write out
        number = float(text)
    else:
        above, slash, below = text.partition("/")
        exact = Fraction(above.strip())
        number = float(exact / Fraction(below.strip()) if slash else exact)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def _read_str(value: Any) -> str:
    if not isinstance(value, (str, Path)):
        raise TypeError
    return str(value)


def parse_setting(text: str) -> Setting:
    """A setting of a sensor: a number like `0.01` or `1/5000`, else the text itself."""
    try:
        return read_number(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        return text


def _read_setting(value: Any) -> Setting:
    return parse_setting(value) if isinstance(value, str) else _read_float(value)


_READERS: Mapping[Any, Any] = {
    bool: _read_bool, int: _read_int, float: _read_float, str: _read_str, Setting: _read_setting
}  # fmt: skip
_EXPECTED: Mapping[Any, str] = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number like `0.5` or `4/255`",
    str: "text",
    Setting: "a number like `0.5` or `4/255`, or text",
}


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Build the dataclass, section by section, so that each checks itself."""
    hints = _hints(kind)  # type: ignore[arg-type]
    arguments = dict(values)
    for field in fields(kind):  # type: ignore[arg-type]
        if is_dataclass(hints[field.name]):
            arguments[field.name] = _build(hints[field.name], values.get(field.name, {}), f"{prefix}{field.name}.")
        elif field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(
                f"the setting `{prefix}{field.name}` is missing", hint=f"give `--{field.name.replace('_', '-')}`"
            )
    return kind(**arguments)
