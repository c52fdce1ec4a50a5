"""A reader of protocol buffers' text form, written from its grammar: fields to lists of values."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\[0-7]{3})*")|(?P<word>[A-Za-z_]\w*|-?\d+)|(?P<sign>[{}\[\],:]))"""
)


def read_config(text: str) -> dict[str, list[Any]]:
    """Every field as the list of its values: strings decoded, numbers as int, words as text, messages as such dicts."""
    tokens, at = [], 0
    while text[at:].strip():
        found = TOKEN.match(text, at)
        assert found is not None, f"no token at {text[at : at + 40]!r}"
        tokens.append(found[0].strip())
        at = found.end()
    fields, rest = read_fields(tokens)
    assert not rest
    return fields


def read_fields(tokens: list[str]) -> tuple[dict[str, list[Any]], list[str]]:
    fields: dict[str, list[Any]] = defaultdict(list)
    while tokens and tokens[0] != "}":
        name, tokens = tokens[0], tokens[1:]
        if tokens[0] == "{":
            value, tokens = read_fields(tokens[1:])
            assert tokens.pop(0) == "}"
            fields[name].append(value)
        elif tokens[:2] == [":", "["]:
            end = tokens.index("]")
            assert set(tokens[3:end:2]) <= {","}
            fields[name] += map(read_scalar, tokens[2:end:2])
            tokens = tokens[end + 1 :]
        else:
            assert tokens[0] == ":", tokens[:3]
            fields[name].append(read_scalar(tokens[1]))
            tokens = tokens[2:]
    return dict(fields), tokens


def read_scalar(token: str) -> Any:
    if token.startswith('"'):
        octal = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), token[1:-1].encode("ascii"))
        return octal.decode()
    return int(token) if re.fullmatch(r"-?\d+", token) else token


def parameters(config: dict[str, list[Any]]) -> dict[str, str]:
    return {entry["key"][0]: entry["value"][0]["string_value"][0] for entry in config["parameters"]}
