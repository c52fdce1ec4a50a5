"""Protocol buffers in their text form (`pbtxt`), as far as a model configuration needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, Union


@dataclass(frozen=True, slots=True)
class Word:
    """A name of an enumeration, like `TYPE_FP32`, which is written without quotes."""

    name: str


Field: TypeAlias = Union[str, Word, bool, int, "Message", Sequence["Field"]]
Message: TypeAlias = Mapping[str, Field]
"""Fields in the order in which they are written; a sequence is a repeated field."""

INDENT = "  "


def write_message(message: Message) -> str:
    """The text of a message, one field a line."""
    return "\n".join(_lines(message, "")) + "\n"


def quote(text: str) -> str:
    """A string in quotes: its UTF-8 bytes, all but printable ASCII as three octal digits.

    Three digits always, so that a digit that follows is not read as part of the escape. Quotes and backslashes are
    escaped too, so no text can end the string.
    """
    plain = set(range(0x20, 0x7F)) - {ord('"'), ord("\\")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _lines(message: Message, indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name} {{"
            yield from _lines(value, indent + INDENT)
            yield f"{indent}}}"
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if any(isinstance(item, Mapping) for item in value):
                for item in value:
                    yield from _lines({name: item}, indent)
            else:
                yield f"{indent}{name}: [ {', '.join(map(_scalar, value))} ]"
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _scalar(value: Field) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Word):
        return value.name
    return quote(value) if isinstance(value, str) else str(value)
