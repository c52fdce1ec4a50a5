"""Schema of the manifest: every field with its type, checked when a bundle is opened."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from advcal_edge.columns import COLUMNS
from advcal_edge.errors import BundleError
from advcal_edge.registry import unknown
from advcal_edge.spec import MODALITIES, Modality
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.threat import ThreatModel

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
ATTESTATION = re.compile(r"attestations/[\w-]+\.intoto\.jsonl", re.ASCII)
"""The signature of a bundle and its attestations. They sign the manifest, so it cannot list them."""
SCHEMA = "advcal-edge/bundle/1"
CHANGING = "changing"
"""Key of a manifest while files are being changed: names, each with the hashes that its file may have."""
SECTIONS = "sections"
"""Key of a manifest for the hash of each of its sections, so that an edit by hand is named wherever it is opened."""
UNSEALED = ("schema", "files", CHANGING, SECTIONS)
"""Keys without such a hash: files have their own."""
LONGEST_TEXT = 4096
OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that control a terminal or a page instead of being shown: control characters and changes of direction."""
CODE = re.compile(r"[A-Za-z_][\w.-]{0,127}(:[A-Za-z_][\w.-]{0,127})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on one value, as text and as a test."""

    expected: str
    holds: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Each:
    """An object with any number of entries of the same shape."""

    values: Shape


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at least `least` items of the same shape."""

    shape: Shape
    least: int = 0


Shape = Rule | Each | Items | Mapping[str, Any]
"""A mapping names the keys of an object; a key that ends with `?` may be missing."""


def is_number(value: object) -> bool:
    """Is this a finite number and not a boolean?"""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: object) -> bool:
    """Is this a whole number, zero or larger?"""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def has_type(kind: type) -> Callable[[Any], bool]:
    """A test whether a value is of `kind`."""
    return lambda value: isinstance(value, kind)


TEXT = Rule("text", has_type(str))
TEXT_OR_NULL = Rule("text or null", lambda value: value is None or isinstance(value, str))
COUNT = Rule("a whole number from zero", is_count)
NUMBER = Rule("a finite number", is_number)
POSITIVE = Rule("a positive number", lambda value: is_number(value) and value > 0)
FRACTION = Rule("a fraction from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
DIGEST = Rule(
    "a sha256 of 64 hexadecimal digits", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
)
SENSOR = Rule(
    f"the name of a sensor such as {', '.join(MODALITIES)}",
    lambda value: isinstance(value, str) and re.fullmatch("[a-z][a-z0-9_-]{0,31}", value),
)
ENCODER = Rule(
    "the name of an encoder, `family:MODEL` or `package.module:factory`",
    lambda value: isinstance(value, str) and CODE.fullmatch(value),
)
SCALAR = Rule(
    "text, a number, true, false or null",
    lambda value: value is None or isinstance(value, (str, bool)) or is_number(value),
)
PLAIN = Rule("an object", has_type(dict))
"""Its numbers and texts are checked with all others."""

THREAT: Shape = {"norm": TEXT, "eps": NUMBER, "bounds": Items(NUMBER, 2)}
SHARE: Mapping[str, Shape] = {
    "accuracy": FRACTION,
    "interval": Items(FRACTION, 2),
    "n": COUNT,
    "correct?": COUNT,
    "hits?": COUNT,
    "exact?": Items(FRACTION, 2),
}
"""A share of samples with its intervals."""
ROW: Shape = {**{f"{name}?": {**SHARE, "top5?": SHARE} for name in COLUMNS}, "recall?": Each(Each(Each(SHARE)))}

FIELDS: Mapping[str, Shape] = {
    "schema": Rule(f"`{SCHEMA}`", lambda value: value == SCHEMA),
    "files": Each({"sha256": DIGEST, "bytes?": COUNT}),
    "tool?": {"version": TEXT},
    "encoder?": {
        "name": ENCODER,
        "modality": SENSOR,
        "weights": TEXT_OR_NULL,
        "weights_sha256": DIGEST,
        "license": TEXT,
        "metadata": PLAIN,
    },
    "modality?": {
        "name": SENSOR,
        "input": {
            "name": TEXT,
            "shape": Items(COUNT, 1),
            "dtype": TEXT,
            "layout": TEXT,
            "bounds": Items(NUMBER, 2),
            "unit": TEXT,
        },
        "preprocess": TEXT,
        "bit_depth": COUNT,
        "settings": Each(Rule("a finite number or text", lambda value: isinstance(value, str) or is_number(value))),
    },
    "threat?": THREAT,
    "adapter?": {
        "kind": TEXT,
        "config": Each(SCALAR),
        "parameters": COUNT,
        "trainable_fraction": NUMBER,
        "estimated": COUNT,
        "estimated_fraction": NUMBER,
    },
    "comparison?": {"reference": TEXT, "graph": TEXT_OR_NULL, "kind": TEXT},
    "centers?": {"labels": Items(TEXT, 2), "source": TEXT, "temperature": POSITIVE},
    "data?": {
        "source": TEXT,
        "license": TEXT_OR_NULL,
        "skipped": COUNT,
        "partner": TEXT_OR_NULL,
        "train": COUNT,
        "held_out": COUNT,
        "calibration": COUNT,
        "train_sha256": DIGEST,
        "held_out_sha256": DIGEST,
        "layout?": TEXT,
        "copies?": COUNT,
        "left_out?": Each(COUNT),
    },
    "config?": PLAIN,
    "seed?": COUNT,
    "changing?": Each(Items(DIGEST)),
    "sections?": Each(DIGEST),
    "metrics?": {
        "threat": THREAT,
        "n": COUNT,
        "budgets": Each(TEXT),
        "before": ROW,
        "after": ROW,
    },
    "environment?": Each(TEXT),
    "graphs?": {
        "opset?": COUNT,
        "missing?": Each(TEXT),
        "census?": {"graph": DIGEST, "decisions": Each(COUNT), "paths": COUNT, "gain": NUMBER},
        "files": Each(
            {
                "precision": TEXT,
                "kind": TEXT,
                "opset?": COUNT,
                "seconds?": NUMBER,
                "step?": TEXT_OR_NULL,
                "kept?": Items(TEXT),
                "scatters?": Items(TEXT),
                "fidelity?": Each(SCALAR),
            }
        ),
    },
}


def check_manifest(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest with a field that is unknown, missing or of another type; `where` begins the message.

    Raises:
        BundleError: the first such field, with what was found and what was expected.
    """
    for place, text in texts(manifest):
        odd = OBEYED.search(text)
        if odd or len(text) > LONGEST_TEXT:
            found = f"the control character U+{ord(odd[0]):04X}" if odd else f"text of {len(text)} characters"
            raise BundleError(f"{where}: `{place}` holds {found}; expected at most {LONGEST_TEXT} printable characters")
    check_shape(manifest, FIELDS, where, "")
    if "modality" in manifest:
        modality = Modality.from_json(manifest["modality"])
        if "encoder" in manifest and manifest["encoder"]["modality"] != modality.name:
            raise BundleError(
                f"{where}: `encoder.modality` is `{manifest['encoder']['modality']}`; expected `{modality.name}`,"
                " as `modality.name` says"
            )
        if "threat" in manifest and ThreatModel.from_json(manifest["threat"]).bounds != modality.input.bounds:
            raise BundleError(
                f"{where}: `threat.bounds` is {manifest['threat']['bounds']}; expected"
                f" {list(modality.input.bounds)}, as `modality.input.bounds` says"
            )
    elif "threat" in manifest:
        ThreatModel.from_json(manifest["threat"])


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the hash of each of its sections."""
    return {**manifest, SECTIONS: seals(manifest)}


def seals(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each section by its name: of its canonical JSON."""
    named = {name: section for name, section in manifest.items() if name not in UNSEALED}
    return {name: sha256_bytes(canonical({name: section})) for name, section in sorted(named.items())}


def check_seals(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest with sections that were edited since they were written; `where` begins the message.

    Raises:
        BundleError: the first section that is other than its hash says, missing, or without one.
    """
    stated, found = manifest.get(SECTIONS), seals(manifest)
    if stated is None or stated == found:
        return
    name = min(name for name in stated.keys() | found.keys() if stated.get(name) != found.get(name))
    what = "was added" if name not in stated else "was removed" if name not in found else "was edited"
    raise BundleError(
        f"{where}: the section `{name}` {what} since it was written: `{SECTIONS}.{name}` is"
        f" {stated.get(name, 'missing')[:12]}, its hash {found.get(name, 'none')[:12]}",
        hint="copy the bundle again, or calibrate again with other settings; a manifest is not edited by hand",
    )


def texts(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a document with its path, keys included; nesting is limited when documents are read."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield f"a key of `{place}`" if place else "a key", key
            yield from texts(child, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from texts(child, f"{place}[{index}]")


def check_shape(value: object, shape: Shape, where: str, place: str) -> None:
    """Check one value against its shape.

    Raises:
        BundleError: it has another shape.
    """
    if isinstance(shape, Rule):
        if not shape.holds(value):
            raise misfit(where, place, value, shape.expected)
    elif isinstance(shape, Items):
        if not isinstance(value, list) or len(value) < shape.least:
            raise misfit(where, place, value, f"a list of at least {shape.least}")
        for index, item in enumerate(value):
            check_shape(item, shape.shape, where, f"{place}[{index}]")
    elif not isinstance(value, Mapping):
        raise misfit(where, place, value, "an object")
    elif isinstance(shape, Each):
        for key, item in value.items():
            check_shape(item, shape.values, where, f"{place}.{key}" if place else key)
    else:
        check_keys(value, shape, where, place)


def check_keys(value: Mapping[str, Any], shape: Mapping[str, Any], where: str, place: str) -> None:
    """Check an object against its required and optional keys.

    Raises:
        BundleError: one is missing or unknown, or its value has another shape.
    """
    known = {key.removesuffix("?"): key for key in shape}
    for key, item in value.items():
        inner = f"{place}.{key}" if place else key
        if key not in known:
            error = unknown("field", inner[:100], (f"{place}.{name}" if place else name for name in known))
            raise BundleError(f"{where}: {error.message}", hint=error.hint)
        check_shape(item, shape[known[key]], where, inner)
    missing = [name for name, key in known.items() if name == key and name not in value]
    if missing:
        raise BundleError(f"{where}: `{f'{place}.' if place else ''}{missing[0]}` is missing", hint="calibrate again")


def misfit(where: str, place: str, value: object, expected: str) -> BundleError:
    """The error for a value of another shape."""
    found = repr(value)
    shown = found if len(found) <= 60 else f"{found[:57]}..."
    return BundleError(f"{where}: `{place}` is {shown}; expected {expected}", hint="calibrate again, or copy it again")
