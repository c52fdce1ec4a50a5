from __future__ import annotations

import re
from pathlib import Path

import pytest
from sample_report import passing

from advcal_edge.report.checks import RULES, skip

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "checks").glob("*.md"))
OPENINGS = ("*Measures* ", "*Why* ", "*If it fails* ")


def test_every_check_has_a_page_and_every_page_a_check() -> None:
    assert {page.stem for page in PAGES} == set(RULES)
    assert all(DOCS.parent / skip(page.stem, "").page == page for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_opens_with_three_paragraphs_of_plain_words(page: Path) -> None:
    """A program embeds them: a title, then what is measured, why, and what to do, with `code` and *emphasis* only."""
    opening, *rest = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    title, *paragraphs = opening.rstrip("\n").split("\n\n")
    assert title == f"# {page.stem}"
    assert [start for start, text in zip(OPENINGS, paragraphs, strict=True) if text.startswith(start)] == [*OPENINGS]
    for text in paragraphs:
        plain = re.sub(r"`[^`]+`|\*[^*`]+\*", "", text)
        assert not re.search(r"[`*\[\]|]|^[#>-]", plain, re.MULTILINE), plain
    assert rest
    assert rest[0].startswith("Limit\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_only_checks_that_exist(page: Path) -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", page.read_text(encoding="utf-8")))
    assert named <= set(RULES)


def test_guide_links_every_page_once_and_says_which_are_advisory() -> None:
    guide = (DOCS / "verify.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`(\w+)`\]\(checks/(\w+)\.md\) \| [^|]+\? \| (required|advisory) \|$", guide, re.MULTILINE)
    assert all(name == link for name, link, _ in rows)
    assert sorted(name for name, *_ in rows) == sorted(RULES)
    advisory = {name for name, rule in RULES.items() if not rule.required}
    assert {name for name, _, kind in rows if kind == "advisory"} == advisory


def test_sample_holds_every_check() -> None:
    assert {check["name"] for check in passing()["derived"]["checks"]} == set(RULES)
