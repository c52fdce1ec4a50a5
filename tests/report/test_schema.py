from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sample_report import (
    abstaining,
    failing,
    fallen_back,
    foreign,
    inconclusive,
    paired,
    passing,
    ranked,
    rebuilt,
    sequential,
    tried_again,
)

from advcal_edge.bundle import REPORT_SCHEMA

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "advcal_edge" / "report" / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
GUIDE = ROOT / "docs" / "report.md"
MAKERS = (
    *(passing, failing, inconclusive, paired, rebuilt, fallen_back, foreign, ranked),
    *(sequential, tried_again, abstaining),
)
DOCUMENTS = [make() for make in MAKERS]
NAMES = (
    "pass",
    "fail",
    "inconclusive",
    "paired",
    "rebuilt",
    "fallen back",
    "foreign",
    "ranked",
    "sequential",
    "again",
    "abstaining",
)


def errors(document: object) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(document)]


def objects(schema: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of the schema under the name of its definition or key."""
    if "properties" in schema:
        yield name, schema
    for key, value in (*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()):
        yield from objects(value, key)
    if isinstance(schema.get("items"), dict):
        yield from objects(schema["items"], name)


def test_the_schema_is_itself_legal_and_of_the_version_that_verify_writes() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == REPORT_SCHEMA


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_documents_fit(document: dict[str, Any]) -> None:
    assert errors(document) == []


def test_every_object_is_closed_and_every_key_described() -> None:
    found = dict(objects(SCHEMA))
    assert len(found) > 25
    for name, item in found.items():
        if name == "budget":  # registered attacks bring numbers of their own
            assert item["additionalProperties"]["$ref"] == "#/$defs/count"
        else:
            assert item["additionalProperties"] is False, name
        for key, value in item["properties"].items():
            target = SCHEMA["$defs"][value["$ref"].rsplit("/", 1)[1]] if "$ref" in value else value
            assert value.get("description") or target.get("description"), f"{name}.{key}"


def shortened(value: Any) -> Any:
    """A document with at most three items of each list: the schema looks at each alone, and not at their number."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value[:3]] if isinstance(value, list) else value


def test_every_key_must_be_there_and_no_other_may() -> None:
    document = shortened(DOCUMENTS[3])
    assert VALIDATOR.is_valid(document)
    optional = {"matrix", "curve", "retrieval", "top5", "rebuilds", "fallback"}
    for half in ("measured", "derived"):
        content = document[half]
        for key in content:
            without = {**document, half: {k: v for k, v in content.items() if k != key}}
            assert VALIDATOR.is_valid(without) is (key in optional)
        for name, value in content.items():
            if isinstance(value, dict) and name not in ("context", "environment", "clean", "checks", "budget"):
                assert not VALIDATOR.is_valid({**document, half: {**content, name: {**value, "surprise": 1}}}), name
        assert not VALIDATOR.is_valid({**document, half: {**content, "surprise": 1}})
    assert not VALIDATOR.is_valid({**document, "surprise": 1})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("derived", "verdict"), "maybe"),
        (("measured", "margin"), 0),
        (("derived", "samples"), 0),
        (("derived", "samples"), 10.5),
        (("derived", "comparisons", 0, "engine", "interval"), [0.1]),
        (("derived", "comparisons", 0, "engine", "accuracy"), 91.0),
        (("derived", "comparisons", 0, "mcnemar"), -0.1),
        (("measured", "hashes", "engine"), "3F" * 32),
        (("measured", "hashes", "gradient"), ""),
        (("measured", "attacks", 0, "attacked"), "01x"),
        (("derived", "checks", 0, "status"), "ok"),
        (("derived", "checks", 0, "limit"), "small"),
        (("derived", "checks", 0, "page"), "../../secrets.md"),
        (("measured", "gallery", 0, "clean"), '"><script>'),
        (("derived", "flips", 0, "comparison"), "transfer"),
        (("measured", "environment", "cores"), 2),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_values_are_refused(path: tuple[Any, ...], value: object) -> None:
    document = shortened(DOCUMENTS[0])
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert errors(document)


def test_the_guide_documents_every_key_and_no_other() -> None:
    documented: dict[str, set[str]] = {}
    section = ""
    for line in GUIDE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"#+ .*?`([\w@ ]+)`", line):
            section = heading[1]
        elif line.startswith("## "):
            section = ""
        if row := re.match(r"\| `([\w@ ]+)` \|", line):
            documented.setdefault(section, set()).add(row[1])
    named = {"": "report"}
    expected = {named.get(name, name): set(item["properties"]) for name, item in objects(SCHEMA)}
    assert {name: keys for name, keys in documented.items() if name} == expected
