from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, strategies as st

from advcal_edge.report.text import render_findings


@dataclass(frozen=True)
class Example:
    name: str
    status: str
    found: str = ""
    expected: str = ""
    where: str = ""


def test_one_line_where_all_is_well_and_both_values_where_not() -> None:
    text = render_findings(
        [
            Example("engine", "ok", "ab", "ab", "hashes.engine"),
            Example("comparison clean", "wrong", "911", "910", "comparisons[0].engine.hits"),
            Example("gradient", "unchecked", "cd", "", "hashes.gradient"),
        ]
    )
    assert text.splitlines() == [
        "ok         engine            hashes.engine",
        "WRONG      comparison clean  comparisons[0].engine.hits",
        "           found     911",
        "           expected  910",
        "unchecked  gradient          hashes.gradient",
        "           found     cd",
        "",
        "1 ok, 1 wrong, 1 unchecked",
    ]


def test_nothing_looked_at_says_so() -> None:
    assert render_findings([]).strip() == "0 ok, 0 wrong, 0 unchecked"


@given(st.text(), st.text(), st.sampled_from(["ok", "wrong", "unchecked"]))
def test_any_text_stays_in_its_lines(name: str, value: str, status: str) -> None:
    lines = render_findings([Example(name, status, value, value, value)]).splitlines()
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert lines[-1].count("1") == 1
