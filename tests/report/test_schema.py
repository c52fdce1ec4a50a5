from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sample_report import climbed, failing, inconclusive, paired, passing, rebuilt

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.report.schema import report_schema

SCHEMA = report_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
GUIDE = Path(__file__).parents[2] / "docs" / "report.md"
DOCUMENTS = [make() for make in (passing, failing, inconclusive, paired, rebuilt, climbed)]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=["pass", "fail", "inconclusive", "paired", "rebuilt", "climbed"])
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


def test_every_key_must_be_there_and_no_other_may() -> None:
    document = DOCUMENTS[3]
    optional = {"matrix", "curve", "retrieval", "top5", "rebuilds", "ladder"}
    for key in document:
        assert bool(errors({k: v for k, v in document.items() if k != key})) is (key not in optional)
    for name in ("engine", "hashes", "drift", "curve", "matrix", "per_sample", "retrieval", "top5"):
        assert errors({**document, name: {**document[name], "surprise": 1}})
    for number, fits in ((1, True), (-1, False), ("many", False)):
        assert (errors({**document, "budget": {**document["budget"], "patch_steps": number}}) == []) is fits
    assert errors({**document, "surprise": 1})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "maybe"),
        (("margin",), 0),
        (("samples",), 0),
        (("samples",), 10.5),
        (("comparisons", 0, "engine", "interval"), [0.1]),
        (("comparisons", 0, "engine", "accuracy"), 91.0),
        (("comparisons", 0, "mcnemar"), -0.1),
        (("hashes", "engine"), "3F" * 32),
        (("hashes", "gradient"), ""),
        (("per_sample", "comparisons", "clean", "engine"), "01x"),
        (("checks", 0, "status"), "ok"),
        (("checks", 0, "limit"), "small"),
        (("checks", 0, "page"), "../../secrets.md"),
        (("gallery", 0, "clean"), '"><script>'),
        (("flips", 0, "comparison"), "transfer"),
        (("environment", "cores"), 2),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_values_are_refused(path: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(DOCUMENTS[0])
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert errors(document)


def test_the_schema_given_out_is_a_copy() -> None:
    report_schema()["properties"].clear()
    assert report_schema() == SCHEMA


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
