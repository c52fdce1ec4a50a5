from __future__ import annotations

import builtins
import copy
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from page_reader import Reader
from sample_report import failing, inconclusive, paired, passing

from advcal_edge.errors import BundleError, DependencyError
from advcal_edge.report import document
from advcal_edge.report.html import render_html
from advcal_edge.verify.report import SCHEMA

PASSING, FAILING, INCONCLUSIVE, PAIRED = passing(), failing(), inconclusive(), paired()
EVERY = pytest.mark.parametrize(
    "report", [PASSING, FAILING, INCONCLUSIVE, PAIRED], ids=["pass", "fail", "inconclusive", "paired"]
)


@pytest.mark.parametrize(
    ("report", "verdict", "word"),
    [
        (PASSING, "pass", "Pass"),
        (FAILING, "fail", "Fail"),
        (INCONCLUSIVE, "inconclusive", "Inconclusive"),
    ],
    ids=["pass", "fail", "inconclusive"],
)
def test_verdict_comes_first_in_words_shape_and_reasons(report: dict[str, Any], verdict: str, word: str) -> None:
    assert report["verdict"] == verdict
    page = render_html(report)
    head = page[page.index("<header>") : page.index("</header>")]
    assert (
        f'<h1 class="{verdict}"><svg class="mark" aria-hidden="true"><use href="#mark-{verdict}"/></svg>{word}' in head
    )
    words = Reader(page).words
    assert all(" ".join(reason.split()) in words for reason in report["reasons"])
    assert words.index(word) < words.index("What was tested")


@EVERY
def test_page_is_well_formed_and_refers_to_nothing_outside(report: dict[str, Any]) -> None:
    page = render_html(report)
    reader = Reader(page)
    assert reader.open == []
    assert all(ref.startswith(("#mark-", "data:image/png;base64,")) for ref in reader.references)
    assert "http" not in page
    assert "url(" not in page.replace("url(#drift-frame)", "")
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)


@EVERY
def test_every_comparison_route_check_and_picture_appears(report: dict[str, Any]) -> None:
    reader = Reader(render_html(report))
    for check in report["checks"]:
        assert check["name"] in reader.words
        assert check["why"] in reader.words
    for item in report["comparisons"]:
        assert item["name"] in reader.words
        assert f"{100 * item['reference']['accuracy']:.1f}" in reader.words
    for item in report["routes"]:
        assert item["attack"].partition("(")[0] in reader.words
    images = [ref for ref in reader.references if ref.startswith("data:")]
    assert images == [
        f"data:image/png;base64,{item[kind]}"
        for item in report["gallery"]
        for kind in ("clean", "difference", "adversarial")
    ]


def test_status_is_readable_without_colour() -> None:
    words = Reader(render_html(INCONCLUSIVE)).words
    for word in ("passed", "skipped", "within", "open", "for information", "decides"):
        assert word in words
    assert "beyond" in Reader(render_html(FAILING)).words


def test_rankings_show_in_the_head_and_in_a_table_of_their_own() -> None:
    report = paired()
    page = render_html(report)
    words, head = Reader(page).words, Reader(page[page.index("<header>") : page.index("</header>")]).words
    assert "Top-5 of 12 labels under attack" in head
    assert "Recall@1 to partner under attack" in head
    for direction in ("forward", "backward"):
        for depth, found in report["retrieval"]["attacked"]["engine"][direction].items():
            assert f"{depth} {'to' if direction == 'forward' else 'from'} partner" in words
            assert f"{100 * found['accuracy']:.1f}" in words
    assert "500 embeddings of the same moments" in words
    named = {**report, "context": {**report["context"], "data": {"partner": "depth"}}}
    assert "500 embeddings of the same moments by depth" in Reader(render_html(named)).words


@pytest.mark.parametrize("kept", ["retrieval", "top5"])
def test_each_ranking_shows_without_the_other(kept: str) -> None:
    report = {**PASSING, kept: PAIRED[kept]}
    words = Reader(render_html(report)).words
    assert ("Recall@1 to partner" in words) is (kept == "retrieval")
    assert ("Top-5 of" in words) is (kept == "top5")
    assert "Top-5 of" not in Reader(render_html(PASSING)).words


def test_a_malformed_ranking_is_one_clear_error() -> None:
    with pytest.raises(BundleError, match="malformed"):
        render_html({**PASSING, "retrieval": {"gallery": 5}})


def test_same_document_gives_the_same_bytes() -> None:
    assert render_html(FAILING) == render_html(copy.deepcopy(FAILING))


def test_markup_in_labels_and_paths_stays_text() -> None:
    report = copy.deepcopy(PASSING)
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    report["gallery"][0]["after"] = report["engine"]["path"] = report["context"]["tool"] = attack
    report["gallery"][0]["clean"] = f'AAAA"{attack}'
    page = render_html(report)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert Reader(page).words.count(attack) == 4  # caption, engine, its details, context


@settings(max_examples=25, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1),
    st.text(st.characters(exclude_categories=("Cc", "Cs"))),
)
def test_any_text_survives_and_breaks_nothing(name: str, reason: str) -> None:
    report = copy.deepcopy(FAILING)
    report["gallery"], report["drift"]["change"], report["drift"]["margin"] = [], [0.01], [0.5]
    report["checks"][0]["name"], report["checks"][0]["why"], report["reasons"] = name, reason, [reason, name]
    reader = Reader(render_html(report))
    assert reader.open == []
    assert "script" not in reader.tags
    assert name in "".join(reader.text)
    assert reason in "".join(reader.text)


def test_identical_engine_and_missing_parts_still_make_a_page() -> None:
    report = copy.deepcopy(PASSING)
    report["gallery"], report["context"] = [], {}
    report["reference"], report["engine"] = {}, {"sha256": "ab" * 32}
    report["drift"]["change"] = [0.0] * len(report["drift"]["change"])
    report["drift"]["margin"][0] = 0.0
    page = render_html(report)
    assert "Inputs that fool the engine" not in page
    assert Reader(page).open == []


def test_drift_that_is_not_finite_is_counted_and_left_out() -> None:
    report = copy.deepcopy(PASSING)
    report["drift"]["change"][:3] = [float("nan")] * 3
    assert "3 samples with values that are not finite" in Reader(render_html(report)).words
    report["drift"]["change"] = [float("inf")] * len(report["drift"]["change"])
    assert "No sample has finite values" in Reader(render_html(report)).words


def test_schema_is_the_one_verify_writes() -> None:
    assert document.SCHEMA == SCHEMA


@pytest.mark.parametrize("schema", ["advcal-edge/report/99", None])
def test_unknown_schema_is_refused_with_a_hint(schema: str | None) -> None:
    with pytest.raises(BundleError, match="schema") as caught:
        render_html({**PASSING, "schema": schema})
    assert caught.value.hint is not None


@pytest.mark.parametrize("gone", ["verdict", "comparisons", "checks", "drift", "threat", "budget", "claim", "seconds"])
def test_malformed_report_is_one_clear_error(gone: str) -> None:
    report = {key: value for key, value in PASSING.items() if key != gone}
    with pytest.raises(BundleError, match="malformed"):
        render_html(report)


def test_missing_jinja2_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DependencyError, match="jinja2") as caught:
        render_html(PASSING)
    assert caught.value.hint == "pip install 'advcal-edge[report]'"
