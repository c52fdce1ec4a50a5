from __future__ import annotations

from pathlib import Path

from hypothesis import given, strategies as st

from advcal_edge.report import pages
from advcal_edge.report.pages import load_pages, parse


def test_a_page_is_the_paragraphs_before_its_first_section() -> None:
    page = parse("drift", "# drift\n\n*Measures* how `z`\nmoves.\n\n*Why* so.\n\n## Figures\n\n*Not* this.\n")
    assert page.paragraphs == [
        [("em", "Measures"), ("text", " how "), ("code", "z"), ("text", " moves.")],
        [("em", "Why"), ("text", " so.")],
    ]


def test_marks_without_a_partner_are_text() -> None:
    assert parse("x", "a * b and `c").paragraphs == [[("text", "a * b and `c")]]


@given(st.text())
def test_no_word_is_lost(text: str) -> None:
    page = parse("x", text.replace("#", ""))
    kept = "".join("".join(words for _, words in paragraph) for paragraph in page.paragraphs)
    assert "".join(kept.split()).replace("*", "").replace("`", "") == "".join(text.split()).translate(
        {ord(mark): None for mark in "#*`"}
    )


def test_pages_are_those_of_a_folder_by_the_name_of_their_check(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text("# one\n\n*Measures* it.\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("no page", encoding="utf-8")
    assert list(load_pages(tmp_path)) == ["one"]
    assert load_pages(tmp_path / "none") == {}


def test_the_package_links_to_the_pages_of_the_documentation() -> None:
    assert pages.FOLDER.is_symlink()
    assert pages.FOLDER.readlink() == Path("../../docs/checks")
