"""Read untrusted JSON and TOML: bounded, strict, plain types only."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.errors import AdvcalError
from advcal_edge.limits import Limit
from advcal_edge.storage import read_bytes

LARGEST_INTEGER = 2**64


def read_json(path: Path, limit: Limit, kind: type[AdvcalError], *, hint: str | None = None) -> Any:
    """Content of a JSON file.

    Raises:
        kind: unreadable, larger than `limit`, or rejected by `parse_json`.
    """
    return parse_json(read_bytes(path, limit, kind), f"`{path}`", kind, hint=hint)


def read_object(path: Path, limit: Limit, kind: type[AdvcalError], *, hint: str | None = None) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        kind: as for `read_json`, or the file holds anything but an object.
    """
    document = read_json(path, limit, kind, hint=hint)
    if not isinstance(document, dict):
        raise kind(f"`{path}` holds a {type(document).__name__}; expected a JSON object", hint=hint)
    return document


def parse_json(data: bytes | str, where: str, kind: type[AdvcalError], *, hint: str | None = None) -> Any:
    """Parse JSON as in RFC 8259: no NaN, no infinity, no number beyond a float, no lone surrogate, bounded nesting.

    Raises:
        kind: anything else; the message begins with `where`.
    """
    try:
        document = json.loads(data if isinstance(data, str) else data.decode("utf-8"), parse_constant=_refuse_constant)
        check_values(document)
    except (ValueError, RecursionError) as error:
        raise kind(f"{where} cannot be read as JSON: {error}", hint=hint) from error
    return document


def read_toml(path: Path, kind: type[AdvcalError]) -> dict[str, Any]:
    """Content of a TOML file.

    Raises:
        kind: unreadable, too large, not TOML, or numbers and nesting out of bounds.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    data = read_bytes(path, limits.DOCUMENT_BYTES, kind)
    try:
        document = tomllib.loads(data.decode("utf-8"))
        check_values(document)
    except (ValueError, RecursionError) as error:
        raise kind(f"`{path}` is not TOML: {error}") from error
    return document


def check_values(document: object) -> None:
    """Check every value of a document, without recursion.

    Raises:
        ValueError: nesting too deep, a number that is not finite or has more than 64 bits, or invalid Unicode.
    """
    deepest = limits.JSON_DEPTH.value
    waiting: list[tuple[object, int]] = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, (dict, list)):
            if depth > deepest:
                raise ValueError(f"more than {deepest} levels of nesting")
            children = list(value.values()) if isinstance(value, dict) else value
            waiting.extend((child, depth + 1) for child in children)
            if isinstance(value, dict):
                waiting.extend((key, depth) for key in value)
        elif isinstance(value, str):
            value.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{value} where a finite number is expected")
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ValueError("a whole number of more than 64 bits")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON")
