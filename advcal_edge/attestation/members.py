"""Members of untrusted JSON objects in signature files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from advcal_edge.errors import SignatureError

T = TypeVar("T", str, list[Any], dict[str, Any])
WORDS = {str: "text", list: "a list", dict: "an object"}


def member(document: object, key: str, kind: type[T], where: str) -> T:
    """The member `key` of an object, of the given kind.

    Raises:
        SignatureError: no object, no such member, or one of another kind; the message begins with `where`.
    """
    if not isinstance(document, Mapping):
        raise SignatureError(f"{where} holds a {type(document).__name__}; expected an object with `{key}`")
    found = document.get(key)
    if not isinstance(found, kind):
        raise SignatureError(f"{where} has `{key}` of the kind {type(found).__name__}; expected {WORDS[kind]}")
    return found
