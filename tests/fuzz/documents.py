"""JSON documents, spoilt by structure and by spelling."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from fuzz.mutation import spoil
from fuzz.poisons import NUMBERS, PATHS, TEXTS, deep, near, poison

Steps = tuple[Any, ...]

SPELLINGS = (
    b'{"a":' * 100_000,
    b"[" * 100_000,
    b"[" * 60 + b"]" * 60,
    b"",
    b"null",
    b"[]",
    b"1" * 5000,
    b'"\\ud800"',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b'{"schema":NaN}',
    b'{"__proto__":{}}',
)


def places(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    """The way to every value of a document, the whole included; of long lists only both ends."""
    yield steps
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*steps, key))
    elif isinstance(value, list):
        for index in range(len(value)) if len(value) <= 6 else (0, 1, len(value) - 1):
            yield from places(value[index], (*steps, index))


def at(document: Any, steps: Steps) -> Any:
    """The value there."""
    for step in steps:
        document = document[step]
    return document


def put(document: Any, steps: Steps, value: Any) -> Any:
    """A copy with another value there."""
    if not steps:
        return value
    changed = copy.deepcopy(document)
    at(changed, steps[:-1])[steps[-1]] = value
    return changed


def every_poison(document: Any, index: int, rng: Random) -> Any:
    """Every place in turn, as `index` counts, with a poison: nothing is left out by chance."""
    ways = list(places(document))
    return put(document, ways[index % len(ways)], poison(rng))


def spoil_document(document: Any, rng: Random) -> Any:
    """One or two changes of structure."""
    for _ in range(rng.choice((1, 1, 2))):
        steps = rng.choice(list(places(document)))
        value = at(document, steps)
        change = rng.randrange(8)
        if change <= 1:
            document = put(document, steps, poison(rng))
        elif change <= 4:
            document = put(document, steps, near(value, rng))
        elif steps and change == 5:
            document = copy.deepcopy(document)
            del at(document, steps[:-1])[steps[-1]]
        elif steps and change == 6:
            document = rename(document, steps, rng)
        else:
            document = put(document, steps, at(document, rng.choice(list(places(document)))))
    return document


def rename(document: Any, steps: Steps, rng: Random) -> Any:
    """The key there under another name; an element of a list moves to its end."""
    changed = copy.deepcopy(document)
    parent = at(changed, steps[:-1])
    moved = parent.pop(steps[-1])
    if isinstance(parent, list):
        parent.append(moved)
    else:
        parent[rng.choice((*TEXTS, *PATHS))] = moved
    return changed


def spelled(document: Any, rng: Random) -> bytes:
    """The document as JSON, usually honest; sometimes with a key twice, other characters or spoilt bytes."""
    text = json.dumps(document, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")
    draw = rng.random()
    if draw < 0.05:
        return rng.choice(SPELLINGS)
    if draw < 0.1 and text.startswith(b"{"):
        value = json.dumps(rng.choice((rng.choice(NUMBERS), rng.choice(TEXTS), deep(500)))).encode()
        return text[:-1] + b"," * (len(text) > 2) + b'"files":' + value + b"}"
    if draw < 0.25:
        return spoil(text, rng)
    return text
