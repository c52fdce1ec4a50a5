"""Checks as rows of the page, each with its explanation: the first paragraphs of its page in docs/checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pages"  # a link to docs/checks; installed as a folder
NAMED = re.compile(r"check (?P<name>\S+?)(?=:| was skipped)")
INLINE = re.compile(r"`(?P<code>[^`]+)`|\*(?P<em>[^*]+)\*")

Run = tuple[str, str]
"""`code`, `em` or `text`, and the words themselves."""
Paragraph = Sequence[Run]


@dataclass(frozen=True, slots=True)
class Page:
    """The explanation of one check."""

    name: str
    paragraphs: Sequence[Paragraph]


def load_pages(folder: Path = FOLDER) -> Mapping[str, Page]:
    """Every page by the name of its check; empty where the package has none."""
    return {file.stem: parse(file.stem, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.md"))}


def parse(name: str, text: str) -> Page:
    """What stands between the title and the first section, a paragraph between empty lines."""
    body = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = (
        " ".join(block.split()) for block in re.split(r"\n\s*\n", re.sub(r"^# .*$", "", body, flags=re.MULTILINE))
    )
    return Page(name, [runs(block) for block in blocks if block])


def runs(text: str) -> Paragraph:
    """Words with `code` and *emphasis* set apart; nothing else is markup."""
    found: list[Run] = []
    end = 0
    for match in INLINE.finditer(text):
        if match.start() > end:
            found.append(("text", text[end : match.start()]))
        kind = "code" if match["code"] else "em"
        found.append((kind, match[kind]))
        end = match.end()
    return [*found, ("text", text[end:])] if end < len(text) else found


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check, the anchor of its row, and its explanation where the package has one."""

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
    """A reason with the check that it names set apart."""
    match = NAMED.match(reason)
    for row in rows if match else ():
        if match and row.check["name"] == match["name"]:
            start, end = match.span("name")
            return Reason(reason[:start], reason[start:end], reason[end:], row.anchor)
    return Reason(reason, "", "", "")
