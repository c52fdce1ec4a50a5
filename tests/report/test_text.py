from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from sample_report import failing, inconclusive, paired, passing

from advcal_edge.errors import BundleError
from advcal_edge.report.text import summary_table, verification_table

PASSING, FAILING, INCONCLUSIVE = passing(), failing(), inconclusive()
EVERY = pytest.mark.parametrize("report", [PASSING, FAILING, INCONCLUSIVE], ids=["pass", "fail", "inconclusive"])


def body(text: str) -> list[str]:
    """Header and rows of the table between the first and the last empty line."""
    return text.split("\n\n")[1].splitlines()


@EVERY
def test_first_line_says_what_runs(report: dict[str, Any]) -> None:
    first = verification_table(report).splitlines()[0]
    n = report["samples"]
    assert first == (f"thermal  engine 3f9c2a1b (int8)  n={n}  linf 4/255  budget quick  margin 2 points  seed 0")


@EVERY
def test_one_aligned_row_a_comparison(report: dict[str, Any]) -> None:
    header, *rows = body(verification_table(report))
    assert [row[: row.index("  ")] for row in rows] == [item["name"] for item in report["comparisons"]]
    assert {row.rindex("  ") + 2 for row in rows} == {header.index("verdict")}
    for row, item in zip(rows, report["comparisons"], strict=True):
        assert f"+{item['only_engine']} / -{item['only_reference']}" in row
        assert row.endswith("-") is not item["decides"]


def test_verdicts_stand_last_with_their_reasons() -> None:
    assert verification_table(PASSING).splitlines()[-1].startswith("PASS  clean drop 0.1 [-0.4, 0.6], worst case")
    *_, first, second = verification_table(FAILING).splitlines()
    assert first == f"FAIL  {FAILING['reasons'][0]}"
    assert second == f"      {FAILING['reasons'][1]}"
    assert "INCONCLUSIVE  check huge_eps was skipped" in verification_table(INCONCLUSIVE)


def test_rankings_stand_in_a_table_between_comparisons_and_checks() -> None:
    report = paired()
    header, *rows = verification_table(report).split("\n\n")[2].splitlines()
    assert header.split("  ")[0] == "% [95 %]"
    assert [row[: row.index("  ")] for row in rows] == [
        "top-5 of 12 labels",
        *(f"recall@{k} {word} partner" for word in ("to", "from") for k in (1, 5, 10)),
    ]
    share = report["retrieval"]["attacked"]["engine"]["forward"]["recall@5"]["accuracy"]
    assert f" {100 * share:.1f} [" in rows[2]
    assert "recall" not in verification_table(PASSING)


def test_checks_are_counted_and_named() -> None:
    assert "checks  13 passed, 0 failed, 0 skipped\n" in verification_table(PASSING)
    assert "checks  12 passed, 1 failed (black_box_not_stronger: 0.034, limit <= 0.01), 0 skipped" in (
        verification_table(FAILING)
    )
    assert "1 skipped (huge_eps: no gradient graph" in verification_table(INCONCLUSIVE)


def test_advisory_and_unmeasured_checks_say_so() -> None:
    report = copy.deepcopy(PASSING)
    report["checks"][0].update(status="fail", measured=None, required=False)
    assert "1 failed (unit_norm: not finite, limit <= 0.001, advisory)" in verification_table(report)


def test_summary_has_one_aligned_row_an_engine() -> None:
    header, *rows = summary_table([PASSING, FAILING, INCONCLUSIVE]).splitlines()
    assert [row.split()[-1] for row in rows] == ["PASS", "FAIL", "INCONCLUSIVE"]
    assert [re.findall(r"\d+/\d+/\d+", row) for row in rows] == [["13/0/0"], ["12/1/0"], ["12/0/1"]]
    assert {row.rindex("  ") + 2 for row in rows} == {header.index("verdict")}


def test_small_negative_drops_are_not_minus_zero() -> None:
    report = copy.deepcopy(PASSING)
    report["comparisons"][0]["drop"] = -1e-5
    assert "-0.0 " not in verification_table(report)


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_any_text_stays_on_its_line(name: str, reason: str) -> None:
    report = copy.deepcopy(FAILING)
    report["comparisons"][1]["name"], report["reasons"] = name, [reason]
    report["checks"][0].update(name=name, why=reason, status="skipped")
    text = verification_table(report)
    assert len(text.splitlines()) == 11
    assert all(line.isprintable() for line in text.splitlines())


def test_unknown_schema_and_missing_fields_are_refused() -> None:
    with pytest.raises(BundleError, match="schema"):
        summary_table([{**PASSING, "schema": "other"}])
    with pytest.raises(BundleError, match="malformed"):
        verification_table({key: value for key, value in PASSING.items() if key != "checks"})
