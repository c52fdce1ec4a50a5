from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from sample_report import failing, fallen_back, foreign, inconclusive, paired, passing, ranked, rebuilt, with_parts

from advcal_edge.errors import BundleError
from advcal_edge.report.text import summary_table, verification_table

PASSING, FAILING, INCONCLUSIVE, PAIRED, REBUILT = passing(), failing(), inconclusive(), paired(), rebuilt()
EVERY = pytest.mark.parametrize(
    "report",
    [PASSING, FAILING, INCONCLUSIVE, PAIRED, REBUILT],
    ids=["pass", "fail", "inconclusive", "paired", "rebuilt"],
)


def body(text: str) -> list[str]:
    """Header and rows of the table between the first and the last empty line."""
    return text.split("\n\n")[1].splitlines()


@EVERY
def test_first_line_says_what_runs(report: dict[str, Any]) -> None:
    first = verification_table(report).splitlines()[0]
    n = report["derived"]["samples"]
    assert first == (f"thermal  engine 3f9c2a1b (int8)  n={n}  linf 4/255  budget quick  margin 2 points  seed 0")


@EVERY
def test_one_aligned_row_a_comparison(report: dict[str, Any]) -> None:
    header, *rows = body(verification_table(report))
    assert [row[: row.index("  ")] for row in rows] == [item["name"] for item in report["derived"]["comparisons"]]
    assert {row.rindex("  ") + 2 for row in rows} == {header.index("verdict")}
    for row, item in zip(rows, report["derived"]["comparisons"], strict=True):
        assert f"+{item['only_engine']} / -{item['only_reference']}" in row
        assert row.endswith("-") is not item["decides"]


def test_verdicts_stand_last_with_their_reasons() -> None:
    *_, first, second = verification_table(PASSING).splitlines()
    assert first.startswith("PASS  clean drop 0.3 [-0.1, 0.9], worst case")
    assert second == "      check passed"
    *_, first, rest, second = verification_table(FAILING).splitlines()
    assert f"{first} {rest.strip()}" == f"FAIL  {FAILING['derived']['reasons'][0]}"
    assert second == f"      {FAILING['derived']['reasons'][1]}"
    assert "INCONCLUSIVE  check huge_eps was skipped" in verification_table(INCONCLUSIVE)


@EVERY
def test_no_line_is_wider_than_a_log(report: dict[str, Any]) -> None:
    text = verification_table(report)
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()


def test_long_reasons_hang_under_their_beginning_and_intervals_stay_whole() -> None:
    *_, first, second, third = verification_table(PAIRED).splitlines()
    assert first.startswith("PASS  clean drop ")
    assert second.startswith("      ")
    assert third.startswith("      ")
    for line in (first, second, third):
        assert line.count("[") == line.count("]")


@EVERY
def test_the_matrix_stands_in_percent_with_a_row_for_each_model_crafted_on(report: dict[str, Any]) -> None:
    blocks = verification_table(report).split("\n\n")
    header, *rows = blocks[-2].splitlines()
    assert header.split("  ")[0] == "PGD crafted on / judged on"
    assert header.split()[-4:] == report["derived"]["matrix"]["judged_on"]
    assert [row.split()[0] for row in rows] == report["derived"]["matrix"]["crafted_on"]
    assert [row.split()[1:] for row in rows] == [
        [f"{100 * found['accuracy']:.1f}" for found in row] for row in report["derived"]["matrix"]["robust"]
    ]


def test_rebuilds_are_one_line() -> None:
    found = REBUILT["derived"]["rebuilds"]
    line = next(line for line in verification_table(REBUILT).splitlines() if line.startswith("rebuilds"))
    assert line.startswith("rebuilds  3 builds, 3 distinct: 3 pass; worst case of the engine")
    assert line.endswith(f"spread {100 * found['spread']:.1f} points")
    assert "rebuilds" not in verification_table(PASSING)


def test_a_precision_fallback_is_one_line_and_the_engine_is_named_with_its_step() -> None:
    text = verification_table(fallen_back())
    assert "engine 3f9c2a1b (int8, fp32 last blocks)" in text
    line = next(line for line in text.splitlines() if line.startswith("fallback"))
    assert line == "fallback  int8 was asked for: as built fail, fp32 attention skipped, fp32 last blocks pass"
    assert max(map(len, text.splitlines())) <= 100
    assert "fallback" not in verification_table(PASSING)


def test_nodes_that_stay_fp32_are_named_with_the_flips_that_each_removes() -> None:
    text = verification_table(ranked())
    lines = text.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("nodes  "))
    found = " ".join(line.strip() for line in lines[start : start + 2])
    assert found.startswith("nodes  kept in fp32: node_MatMul_2: 7 of 9 flips, node_MatMul_13 (blocks.13.fc1)")
    assert max(map(len, lines)) <= 100
    assert "nodes  " not in verification_table(fallen_back())


def test_rankings_stand_in_a_table_between_comparisons_and_checks() -> None:
    header, *rows = verification_table(PAIRED).split("\n\n")[2].splitlines()
    assert header.split("  ")[0] == "reference -> engine [95 %]"
    assert [row[: row.index("  ")] for row in rows] == [
        "top-5 of 12 labels",
        *(f"recall@{k} {word} partner" for word in ("to", "from") for k in (1, 5, 10)),
    ]
    share = PAIRED["derived"]["retrieval"]["attacked"]["engine"]["forward"]["recall@5"]["accuracy"]
    assert f"-> {100 * share:.1f} [" in rows[2]
    assert "recall" not in verification_table(PASSING)


def test_checks_are_counted_and_named() -> None:
    assert "checks  22 passed, 0 failed, 0 skipped\nPASS" in verification_table(PASSING)
    assert (
        "checks  21 passed, 1 failed, 0 skipped\n        failed   black_box_not_stronger: 0.04513, limit <= 0.01\n"
    ) in verification_table(FAILING)
    assert "1 skipped\n        skipped  huge_eps: no gradient" in verification_table(INCONCLUSIVE)


def test_advisory_and_unmeasured_checks_say_so() -> None:
    report = copy.deepcopy(PASSING)
    report["derived"]["checks"][1].update(status="fail", measured=None, required=False)
    assert "failed   unit_norm: not finite, limit <= 0.001, advisory\n" in verification_table(report)


def test_a_bridged_engine_says_how_and_one_that_raised_what_it_said() -> None:
    text = " ".join(verification_table(foreign()).split())
    assert "bridged input `images` for `x`; fixed batch 8, smaller ones padded" in text
    assert "failed runs: 9, limit <= 0" in text
    assert "the first with a batch (1, 1, 64, 64): `other.onnx` failed on images (8, 64, 64, 1): no such row" in text
    assert "bridged" not in verification_table(PASSING)


def test_summary_has_one_aligned_row_an_engine() -> None:
    header, *rows = summary_table([PASSING, FAILING, INCONCLUSIVE]).splitlines()
    assert [row.split()[-1] for row in rows] == ["PASS", "FAIL", "INCONCLUSIVE"]
    assert [re.findall(r"\d+/\d+/\d+", row) for row in rows] == [["22/0/0"], ["21/1/0"], ["21/0/1"]]
    assert {row.rindex("  ") + 2 for row in rows} == {header.index("verdict")}


def test_small_negative_drops_are_not_minus_zero() -> None:
    report = copy.deepcopy(PASSING)
    report["derived"]["comparisons"][0]["drop"] = -1e-5
    assert "-0.0 " not in verification_table(report)


@settings(max_examples=50)
@given(st.text(), st.text())
def test_any_text_stays_in_its_place(name: str, reason: str) -> None:
    report = copy.deepcopy(FAILING)
    derived = report["derived"]
    derived["comparisons"][1]["name"] = derived["matrix"]["crafted_on"][0] = derived["matrix"]["judged_on"][1] = name
    derived["reasons"], report["measured"]["budget"]["name"] = [reason], reason
    derived["checks"][0].update(name=name, why=reason, status="skipped")
    lines = verification_table(report).splitlines()
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert sum(line.startswith("FAIL  ") or line == "FAIL" for line in lines) == 1


def test_unknown_schema_and_missing_fields_are_refused() -> None:
    with pytest.raises(BundleError, match="schema"):
        summary_table([{**PASSING, "schema": "other"}])
    with pytest.raises(BundleError, match="malformed"):
        verification_table({**PASSING, "derived": {k: v for k, v in PASSING["derived"].items() if k != "checks"}})


@pytest.mark.parametrize("threat", [{"norm": "l7", "eps": 0.1, "bounds": [0, 1]}, {"norm": "linf"}, 3, None])
def test_a_threat_model_that_is_none_is_one_clear_error(threat: object) -> None:
    with pytest.raises(BundleError, match=r"the report has the schema .* but is malformed") as caught:
        verification_table(with_parts(PASSING, "measured", threat=threat))
    assert caught.value.hint == "verify again"
