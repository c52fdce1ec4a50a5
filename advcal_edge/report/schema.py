"""The shape of `report.json` as a JSON schema, for whoever reads reports with other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "report.schema.json"


def report_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the document that `verify` writes; a copy that the caller may change.

    It is strict: a key that it does not name is an error, but for `context`, which is as the bundle's manifest has it.
    """
    schema: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return schema
