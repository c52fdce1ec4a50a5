"""Earlier runs on an engine count, and what they leave of the error rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from page_reader import Reader
from sample_report import document, measure, passing, sequential, tried_again, with_parts

from advcal_edge.errors import BundleError
from advcal_edge.report.derive import derive
from advcal_edge.report.history import Earlier, History, Run, level_of
from advcal_edge.report.html import render_html
from advcal_edge.report.text import verification_table
from advcal_edge.stats import LEVEL, tango

RUN = Run(200, "inconclusive", 1, 0, 0, "quick: ce, margin", 4 / 255, 0.02, sequential=False)


def number(own: Run, *before: Run) -> int:
    """Which try a run is after these."""
    terms = (own.samples, own.seed, own.attacks, own.eps, own.margin, own.sequential)
    return History(*terms, [Earlier("0" * 64, run) for run in before]).number(own.lost, own.gained)


def test_all_tries_together_err_in_at_most_twice_the_level() -> None:
    assert level_of(1) == LEVEL
    assert sum(map(level_of, range(1, 100_000))) < 2 * LEVEL


def test_a_try_that_did_not_pass_counts_and_the_same_again_does_not() -> None:
    more = replace(RUN, samples=300)
    assert number(RUN) == 1
    assert number(RUN, RUN) == 1
    assert number(more, RUN) == 2
    assert number(more, RUN, RUN) == 2
    assert number(replace(RUN, seed=1), RUN, more) == 3
    assert number(replace(RUN, attacks="full: ce"), RUN) == 2
    assert number(more, replace(RUN, verdict="fail")) == 2
    assert number(more, replace(RUN, verdict="pass")) == 1
    assert number(replace(RUN, lost=0), RUN) == 2  # an engine that answers by chance was simply tried again


def test_another_margin_or_radius_is_another_question() -> None:
    assert number(replace(RUN, margin=0.03, samples=300), RUN) == 1
    assert number(replace(RUN, eps=8 / 255, samples=300), RUN) == 1


def test_a_sequential_test_may_be_looked_at_as_often_as_wanted() -> None:
    look = replace(RUN, sequential=True)
    assert number(replace(look, samples=300, lost=4), look, replace(look, samples=250)) == 1
    assert number(replace(look, seed=1), look) == 2
    assert number(RUN, look) == 2  # as a fixed number it is another test
    assert number(look, RUN) == 2


def test_a_further_try_has_a_wider_interval() -> None:
    first, third = derive(measure(1000, lost=0.0, gained=0.0)), tried_again()["derived"]
    assert third["history"]["number"] == 3
    assert third["history"]["level"] == pytest.approx(LEVEL / 6)
    worst = third["comparisons"][-1]
    wide = tango(worst["only_reference"], worst["only_engine"], 1000, 1 - LEVEL / 3)
    assert worst["interval"] == wide.to_json()
    assert wide.high > first["comparisons"][-1]["interval"][1]
    assert "history" not in first


def test_what_passes_once_need_not_pass_at_the_third_try() -> None:
    measured = measure(200, lost=0.0, gained=0.0, flipped=0.0)
    assert derive(measured)["verdict"] == "pass"
    tries = [{**item, "samples": 20 + k} for k, item in enumerate(tried_again()["measured"]["history"])]
    assert derive({**measured, "history": tries})["verdict"] == "inconclusive"


def test_tables_and_pages_say_so() -> None:
    table = " ".join(verification_table(tried_again()).split())
    assert "100 samples inconclusive, 200 samples inconclusive: this is try 3" in table
    assert "held to 0.417 % instead of 2.5 %, and all tries together err in at most 5 %" in table
    assert "--sequential" in table
    assert "drop [99.17 %]" in table
    assert "this is try 3, held to 0.417" in Reader(render_html(tried_again())).words.lower()
    assert "none of them counts against this run" in " ".join(verification_table(sequential()).split())
    assert "earlier" not in verification_table(passing())


def test_a_sequential_report_shows_its_looks() -> None:
    report = sequential()
    looks = report["derived"]["sequential"]
    assert looks["decided"] == max(path["decided"] for path in looks["paths"].values())
    assert list(looks["paths"]) == ["clean", "worst case"]
    assert f"looks     decided at {looks['decided']} samples" in verification_table(report)
    page = render_html(report)
    assert page.count('<figure class="path">') == 2
    assert "40 : 1 decides" in page
    assert f"clear at {looks['decided']} samples" in Reader(page).words
    assert 'class="path"' not in render_html(passing())


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("sequential", {"every": 1, "at_most": 1000}, "expected 16"),
        ("sequential", {"every": 16, "at_most": 100}, "expected at least 576"),
        ("sequential", True, "expected an object"),
        ("history", [{"report": "x"}], "lacks"),
        ("history", [{**tried_again()["measured"]["history"][0], "verdict": "maybe"}], "expected one of"),
        ("history", [{**tried_again()["measured"]["history"][0], "lost": 900}], "expected at least 900"),
        ("history", {}, "expected a list"),
    ],
)
def test_malformed_parts_are_refused(part: str, value: Any, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        derive(with_parts(sequential(), "measured", **{part: value})["measured"])


def test_builds_of_a_sequential_engine_are_judged_by_their_looks_too() -> None:
    from sample_report import with_builds

    measured = with_builds(measure(320, lost=0.0, gained=0.0, flipped=0.0), (0.0,))
    looks = {"every": 16, "at_most": 500}
    for build in measured["rebuilds"]["measured"].values():
        build["sequential"] = looks
    found = document({**measured, "sequential": looks})["derived"]
    assert found["rebuilds"]["asked"] == 1
    assert found["sequential"]["decided"] == 272
