"""Bundles as an attacker would send them: a whole manifest, and every field of it poisoned in turn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.manifest import sealed

Place = tuple[str | int, ...]

SHARE = {"accuracy": 0.9, "n": 80, "interval": [0.8, 1.0], "correct": 72}
TOP = {"accuracy": 0.9, "n": 80, "interval": [0.8, 1.0], "hits": 72, "exact": [0.8, 1.0]}
SECTIONS: dict[str, Any] = {
    "tool": {"version": "0.1.0"},
    "encoder": {
        "name": "bindlite",
        "modality": "thermal",
        "weights": None,
        "weights_sha256": "a" * 64,
        "license": "Apache-2.0",
        "metadata": {"logit_scale": 10.0},
    },
    "adapter": {
        "kind": "lora",
        "config": {"rank": 2},
        "parameters": 100,
        "trainable_fraction": 0.031,
        "estimated": 0,
        "estimated_fraction": 0.0,
    },
    "centers": {"labels": ["car", "cat", "cup", "person"], "source": "test", "temperature": 0.1},
    "data": {
        "source": "synthetic",
        "license": "MIT",
        "skipped": 0,
        "partner": None,
        "train": 10,
        "held_out": 12,
        "calibration": 4,
        "train_sha256": "b" * 64,
        "held_out_sha256": "c" * 64,
    },
    "config": {"modality": "thermal", "train": {"epochs": 2}},
    "seed": 0,
    "metrics": {
        "threat": {"norm": "linf", "eps": 4 / 255, "bounds": [0.0, 1.0]},
        "n": 80,
        "budgets": {"pgd": "PGD(steps=20)"},
        "before": {"clean": {**SHARE, "top5": TOP}, "recall": {"clean": {"forward": {"recall@1": TOP}}}},
        "after": {"clean": SHARE, "worst": SHARE},
    },
    "environment": {"python": "3.11.7"},
}

ANYWHERE: dict[str, Any] = {
    "a control character": "\x1b[2Jgone",
    "a change of direction": "ab\u202edc",
    "a lone surrogate": "\ud800",
    "text of 5,000 characters": "a" * 5000,
    "a number beyond 64 bits": 10**400,
    "a number of 5,000 digits": 10**5000,
    "infinity": float("inf"),
    "not a number": float("nan"),
    "nesting": json.loads("[" * 100 + "]" * 100),
}
"""Values that no field may have."""

OPEN = ("config", "metadata")
"""Objects whose keys and types only the tool that wrote them knows; nothing is ever taken from them."""


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every value of a document below its root."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*at, key)
        yield from places(child, (*at, key))


def look(document: Any, place: Place) -> Any:
    """The value at a place."""
    for key in place:
        document = document[key]
    return document


def poisoned(document: Any, place: Place, value: Any) -> Any:
    """A copy with another value at a place."""
    copy = deepcopy(document)
    look(copy, place[:-1])[place[-1]] = value
    return copy


def wrong_types(value: Any) -> Iterator[Any]:
    """Values of other types than this one, for a field whose type is fixed."""
    candidates: list[Any] = [None, True, -1, 0.5, "7 apples", [], {}, [None], {"odd": None}]
    kind = (int, float) if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)
    for candidate in candidates:
        number = isinstance(candidate, (int, float)) and not isinstance(candidate, bool)
        same = number if kind == (int, float) else isinstance(candidate, type(value))
        if not same and not (value is None and isinstance(candidate, str)):
            yield candidate


def write_manifest(bundle: Bundle, manifest: Any) -> Path:
    """Put a manifest in place of the bundle's own, as an attacker would: with whatever JSON is able to say."""
    text = _dumps(resealed(manifest))
    (bundle.path / MANIFEST).write_text(text, encoding="utf-8", errors="surrogatepass")
    return bundle.path


def resealed(manifest: Any) -> Any:
    """The manifest with the hashes of its sections made anew, as whoever edits them would; as it is if it has none."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sections"), dict):
        return manifest
    if not all(isinstance(seal, str) and re.fullmatch("[0-9a-f]{64}", seal) for seal in manifest["sections"].values()):
        return manifest  # it is these that were spoilt
    with suppress(TypeError, ValueError, RecursionError):  # what has no canonical form is refused before hashes are
        return sealed(manifest)
    return manifest


def _dumps(value: Any) -> str:
    """JSON that also writes integers of any length, which `json` refuses to."""
    if isinstance(value, bool) or not isinstance(value, (int, dict, list)):
        return json.dumps(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_dumps(child)}" for key, child in value.items()) + "}"
    return "[" + ",".join(map(_dumps, value)) + "]"


def _digits(value: int) -> str:
    """Decimal digits of a whole number of any length."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    parts = []
    while True:
        value, low = divmod(value, 10**1000)
        if not value:
            return sign + str(low) + "".join(reversed(parts))
        parts.append(str(low).zfill(1000))
