"""The committed example is a document of this version, and its page is what this version renders from it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from advcal_edge.report.derive import derive
from advcal_edge.report.html import render_html

FOLDER = Path(__file__).parents[2] / "docs" / "example-report"


def test_example_fits_the_schema_and_renders_to_its_page() -> None:
    report = json.loads((FOLDER / "report.json").read_text(encoding="utf-8"))
    schema = Path(__file__).parents[2] / "advcal_edge" / "report" / "report.schema.json"
    jsonschema.validate(report, json.loads(schema.read_text(encoding="utf-8")))
    assert derive(report["measured"]) == report["derived"]
    assert report["derived"]["verdict"] == "pass"
    assert render_html(report) == (FOLDER / "report.html").read_text(encoding="utf-8")
