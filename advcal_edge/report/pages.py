"""What each check asks, why, and what to do when it fails: the first paragraphs of its page in docs/checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "pages"  # a link to docs/checks; installed as a folder
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
