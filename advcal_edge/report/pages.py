"""Checks as rows of the page, each with its explanation: the first paragraphs of its page in docs/checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pages"  # a symbolic link to docs/checks; an ordinary folder when installed
NAMED = re.compile(r"check (?P<name>\S+?)(?=:| was skipped)")
INLINE = re.compile(r"`(?P<code>[^`]+)`|\*(?P<em>[^*]+)\*")

Run = tuple[str, str]
"""Kind (`code`, `em` or `text`) and the text."""
Paragraph = Sequence[Run]


@dataclass(frozen=True, slots=True)
class Page:
    """The explanation of one check."""

    name: str
    paragraphs: Sequence[Paragraph]


def load_pages(folder: Path = FOLDER) -> Mapping[str, Page]:
    """Every page by the name of its check; empty if the package has none."""
    return {file.stem: parse(file.stem, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.md"))}


def parse(name: str, text: str) -> Page:
    """The text between the title and the first section; paragraphs are separated by empty lines."""
    body = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = (
        " ".join(block.split()) for block in re.split(r"\n\s*\n", re.sub(r"^# .*$", "", body, flags=re.MULTILINE))
    )
    return Page(name, [runs(block) for block in blocks if block])


def runs(text: str) -> Paragraph:
    """Split text at `code` and *emphasis*; no other markup is supported."""
    parts: list[Run] = []
    end = 0
    for match in INLINE.finditer(text):
        if match.start() > end:
            parts.append(("text", text[end : match.start()]))
        kind = "code" if match["code"] else "em"
        parts.append((kind, match[kind]))
        end = match.end()
    return [*parts, ("text", text[end:])] if end < len(text) else parts


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check, the anchor of its row, and its explanation if the package has one."""

    check: Mapping[str, Any]
    anchor: str
    page: Page | None


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason in three parts; the middle one names the check whose row is at `anchor`."""

    before: str
    name: str
    after: str
    anchor: str


def check_rows(checks: Sequence[Mapping[str, Any]], pages: Mapping[str, Page]) -> list[CheckRow]:
    """One row per check, in the order of the report."""
    rows: list[CheckRow] = []
    for number, check in enumerate(checks, 1):
        plain = re.fullmatch(r"\w+", check["name"], re.ASCII)
        anchor = check["name"] if plain and all(row.anchor != check["name"] for row in rows) else str(number)
        rows.append(CheckRow(check, anchor, pages.get(check["name"])))
    return rows


def linked(reason: str, rows: Sequence[CheckRow]) -> Reason:
    """Split a reason at the name of the check in it."""
    match = NAMED.match(reason)
    for row in rows if match else ():
        if match and row.check["name"] == match["name"]:
            start, end = match.span("name")
            return Reason(reason[:start], reason[start:end], reason[end:], row.anchor)
    return Reason(reason, "", "", "")
