from __future__ import annotations

import builtins
import copy
import html
import re
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from page_reader import Reader
from sample_report import failing, fallen_back, foreign, inconclusive, paired, passing, ranked, rebuilt, with_parts

from advcal_edge.errors import BundleError, DependencyError
from advcal_edge.report.html import render_html
from advcal_edge.report.pages import parse

PASSING, FAILING, INCONCLUSIVE, PAIRED, REBUILT = passing(), failing(), inconclusive(), paired(), rebuilt()
EVERY = pytest.mark.parametrize(
    "report",
    [PASSING, FAILING, INCONCLUSIVE, PAIRED, REBUILT],
    ids=["pass", "fail", "inconclusive", "paired", "rebuilt"],
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
    assert report["derived"]["verdict"] == verdict
    page = render_html(report)
    head = page[page.index("<header>") : page.index("</header>")]
    assert (
        f'<h1 class="{verdict}"><svg class="mark" aria-hidden="true"><use href="#mark-{verdict}"/></svg>{word}' in head
    )
    words = Reader(page).words
    assert all(" ".join(reason.replace("`", "").split()) in words for reason in report["derived"]["reasons"])
    assert words.index(word) < words.index("What was tested")


@EVERY
def test_page_is_well_formed_and_refers_to_nothing_outside(report: dict[str, Any]) -> None:
    page = render_html(report)
    reader = Reader(page)
    assert reader.open == []
    outside = [ref for ref in reader.references if not ref.startswith("data:image/png;base64,")]
    assert all(ref.startswith("#") and ref[1:] in reader.ids for ref in outside)
    assert len(set(reader.ids)) == len(reader.ids)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.replace("<meta http-equiv=", ""))
    assert "url(" not in page.replace("url(#drift-frame)", "")
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)


@EVERY
def test_every_comparison_route_check_and_picture_appears(report: dict[str, Any]) -> None:
    reader = Reader(render_html(report))
    for check in report["derived"]["checks"]:
        assert check["name"] in reader.words
        assert check["why"].replace("`", "") in reader.words
    for item in report["derived"]["comparisons"]:
        assert item["name"] in reader.words
        assert f"{100 * item['reference']['accuracy']:.1f}" in reader.words
    for item in report["derived"]["routes"]:
        assert item["attack"].partition("(")[0] in reader.words
    images = [ref for ref in reader.references if ref.startswith("data:")]
    assert images == [
        f"data:image/png;base64,{item[kind]}"
        for item in report["measured"]["gallery"]
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
    assert "Recall@10 to partner under attack" in head
    for direction in ("forward", "backward"):
        for depth, found in report["derived"]["retrieval"]["attacked"]["engine"][direction].items():
            assert f"{depth} {'to' if direction == 'forward' else 'from'} partner" in words
            assert f"{100 * found['accuracy']:.1f}" in words
    assert "500 embeddings of the same moments" in words
    named = with_parts(report, "measured", context={**report["measured"]["context"], "data": {"partner": "depth"}})
    assert "500 embeddings of the same moments by depth" in Reader(render_html(named)).words


@pytest.mark.parametrize("kept", ["retrieval", "top5"])
def test_each_ranking_shows_without_the_other(kept: str) -> None:
    report = with_parts(PASSING, "derived", **{kept: PAIRED["derived"][kept]})
    words = Reader(render_html(report)).words
    assert ("Recall@10 to partner" in words) is (kept == "retrieval")
    assert ("Top-5 of" in words) is (kept == "top5")
    assert "Top-5 of" not in Reader(render_html(PASSING)).words


def test_a_malformed_ranking_is_one_clear_error() -> None:
    with pytest.raises(BundleError, match="malformed"):
        render_html(with_parts(PASSING, "derived", retrieval={"gallery": 5}))


def test_same_document_gives_the_same_bytes() -> None:
    assert render_html(FAILING) == render_html(copy.deepcopy(FAILING))


def test_markup_in_labels_and_paths_stays_text() -> None:
    report = copy.deepcopy(PASSING)
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    report["measured"]["gallery"][0]["after"] = report["measured"]["engine"]["path"] = report["measured"]["context"][
        "tool"
    ] = attack
    report["measured"]["gallery"][0]["clean"] = f'AAAA"{attack}'
    page = render_html(report)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert Reader(page).words.count(attack) == 4  # caption, engine, its details, context


@settings(max_examples=25, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1),
    st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="`")),
)
def test_any_text_survives_and_breaks_nothing(name: str, reason: str) -> None:
    report = copy.deepcopy(FAILING)
    report["measured"]["gallery"], report["measured"]["drift"]["change"], report["measured"]["drift"]["margin"] = (
        [],
        [0.01],
        [0.5],
    )
    report["derived"]["checks"][0]["name"], report["derived"]["checks"][0]["why"], report["derived"]["reasons"] = (
        name,
        reason,
        [reason, name],
    )
    reader = Reader(render_html(report))
    assert reader.open == []
    assert "script" not in reader.tags
    assert name in "".join(reader.text)
    assert reason in "".join(reader.text)


def test_identical_engine_and_missing_parts_still_make_a_page() -> None:
    report = copy.deepcopy(PASSING)
    report["measured"]["gallery"], report["measured"]["context"] = [], {}
    report["measured"]["reference"], report["measured"]["engine"] = {}, {"sha256": "ab" * 32}
    report["measured"]["drift"]["change"] = [0.0] * len(report["measured"]["drift"]["change"])
    report["measured"]["drift"]["margin"][0] = 0.0
    page = render_html(report)
    assert "Inputs that fool the engine" not in page
    assert Reader(page).open == []


@pytest.mark.parametrize("schema", ["advcal-edge/report/99", None])
def test_unknown_schema_is_refused_with_a_hint(schema: str | None) -> None:
    with pytest.raises(BundleError, match="schema") as caught:
        render_html({**PASSING, "schema": schema})
    assert caught.value.hint is not None


@pytest.mark.parametrize("gone", ["verdict", "comparisons", "checks", "drift", "threat", "budget", "claim", "seconds"])
def test_malformed_report_is_one_clear_error(gone: str) -> None:
    report = {half: without(PASSING[half], gone) for half in ("measured", "derived")}
    report |= {"schema": PASSING["schema"]}
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


def without(part: dict[str, Any], gone: str) -> dict[str, Any]:
    """A copy without one key."""
    return {key: value for key, value in part.items() if key != gone}


def section(page: str, name: str) -> str:
    """Words of one part of the page."""
    start = page.index(f'<h2 id="{name}">')
    end = page.find("<h2 id=", start + 1)
    part = page[start : end if end > 0 else page.index("</main>")]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", part)).split())


@EVERY
def test_sections_are_numbered_in_order_and_listed_at_the_top(report: dict[str, Any]) -> None:
    page = render_html(report)
    found = re.findall(r'<h2 id="(\w+)"><span class="number">(\d+)</span>([^<]+)</h2>', page)
    assert [int(number) for _, number, _ in found] == list(range(1, len(found) + 1))
    head = page[page.index("<nav") : page.index("</nav>")]
    assert re.findall(r'<a href="#(\w+)">([^<]+)</a>', head) == [(name, title) for name, _, title in found]


def test_reasons_that_name_a_check_lead_to_its_row() -> None:
    for report, name in ((FAILING, "black_box_not_stronger"), (INCONCLUSIVE, "huge_eps")):
        page = render_html(report)
        head = page[page.index("<header>") : page.index("<nav")]
        assert head.count("<a ") == 1
        assert re.search(rf'<a href="#check-{name}" data-part="\d+">{name}</a>', head)
        row = page[page.index(f'<tr id="check-{name}"') :]
        assert f"<code>{name}</code>" in row[: row.index("</tr>")]
    assert "<a " not in render_html(PASSING).split("<nav")[0].partition("<header>")[2]


TEXT = """# unit_norm

*Measures* the `|z|` of <b>.

*Why* half
precision & more.

*If it fails* see.

## More

No.
"""
PAGES = {"unit_norm": parse("unit_norm", TEXT)}


def test_a_check_with_a_page_leads_to_its_explanation_and_back() -> None:
    page = render_html(PASSING, PAGES)
    row = page[page.index('<tr id="check-unit_norm"') :]
    assert '<a href="#about-unit_norm"' in row[: row.index("</tr>")]
    told = page[page.index('<section id="about-unit_norm">') : page.index("</section>")]
    assert "<p><em>Measures</em> the <code>|z|</code> of &lt;b&gt;.</p>" in told
    assert "<p><em>Why</em> half precision &amp; more.</p>" in told
    assert told.count("<p>") == 3
    assert 'href="#check-unit_norm"' in told
    assert page.count('href="#about-') == 1
    assert "What the checks ask" not in Reader(render_html(PASSING, {})).words


def test_a_check_of_the_page_only_is_explained_by_its_own_page() -> None:
    report = copy.deepcopy(PASSING)
    report["derived"]["checks"][1].update(name="../unit_norm", page="../../unit_norm.md")
    assert "about-" not in render_html(report, PAGES)


def test_a_bridged_engine_says_how_and_one_that_raised_what_it_said() -> None:
    page = render_html(foreign())
    assert "<dt>Bridged</dt> <dd>input <code>images</code> for <code>x</code><br>fixed batch 8" in page
    assert "the first with a batch (1, 1, 64, 64): <code>other.onnx</code> failed" in page
    assert "Bridged" not in render_html(PASSING)


@EVERY
def test_flips_are_counted_shown_and_folded(report: dict[str, Any]) -> None:
    page = render_html(report)
    part = section(page, "flips")
    lost = sum(
        flip["comparison"] == "worst case" and flip["lost_on"] == "engine" for flip in report["derived"]["flips"]
    )
    assert f"Worst case: {lost} lost on the engine" in part
    table = page[page.index('<h2 id="flips">') :]
    table = table[: table.index("<h2", 5)]
    rows = re.findall(r'<th scope="row">(?:<a [^>]*>)?(\d+)', table)
    assert sorted(map(int, rows)) == sorted(flip["sample"] for flip in report["derived"]["flips"])
    folded = table.partition("<details")[2].count('<th scope="row">')
    assert folded == (len(rows) - 10 if len(rows) > 12 else 0)
    assert bool(folded) is (f"{len(rows) - 10} more flips" in part)


def test_flips_name_what_found_them_and_where() -> None:
    report = copy.deepcopy(PASSING)
    sample = report["derived"]["drift"]["near_tie_samples"][0]
    report["measured"]["gallery"][0]["sample"] = sample
    flip = {"sample": sample, "truth": "car", "comparison": "worst case", "lost_on": "engine"}
    report["derived"]["flips"] = [
        {**flip, "found_by": "difference: PGD(steps=5, step=None, loss='diva'), crafted on reference"}
    ]
    page = render_html(report)
    part = section(page, "flips")
    assert f"{sample} car near tie worst case engine difference, PGD (diva) crafted on reference" in part
    assert f'<a href="#sample-{sample}"' in page
    assert "None: every sample is right on both sides" in section(
        render_html(with_parts(report, "derived", flips=[])), "flips"
    )


def test_the_curve_marks_zero_the_tested_radius_and_the_whole_width() -> None:
    part = section(render_html(PASSING), "radius")
    assert "tested: 4/255" in part
    for side in ("reference", "engine"):
        for point in PASSING["derived"]["curve"][side]["points"]:
            assert f"{point['correct']} of 64" in part
    for label in (" 0 ", " 4/255 ", " 1 "):
        assert label in part


def test_the_matrix_has_a_cell_for_every_pair_and_frames_the_diagonal() -> None:
    page = render_html(PASSING)
    table = page[page.index('<table class="matrix">') :]
    table = table[: table.index("</table>")]
    shown = re.findall(r'<td class="n( own)? left-\d+">([\d.]+)', table)
    cells = [found["accuracy"] for row in PASSING["derived"]["matrix"]["robust"] for found in row]
    assert [float(value) for _, value in shown] == [round(100 * cell, 1) for cell in cells]
    assert [bool(own) for own, _ in shown] == [i == j for i in range(4) for j in range(4)]
    report = copy.deepcopy(PASSING)
    for rows in (report["derived"]["matrix"]["crafted_on"], report["derived"]["matrix"]["robust"]):
        rows.append(rows.pop(1))  # whoever crafted last
    assert render_html(report) == page


def test_words_between_backticks_are_code() -> None:
    page = render_html(INCONCLUSIVE)
    assert page.count("see <code>--gradient</code> and <code>--gradient-graph</code>") == 2  # the reason and the row


@pytest.mark.parametrize("gone", ["matrix", "curve"])
def test_without_a_gradient_there_is_neither_matrix_nor_curve(gone: str) -> None:
    page = render_html({**PASSING, "derived": without(PASSING["derived"], gone)})
    assert f'<h2 id="{"radius" if gone == "curve" else "matrix"}">' not in page
    assert Reader(page).open == []


def test_statistics_hold_both_intervals_of_shares_and_of_the_drop() -> None:
    part = section(render_html(PASSING), "statistics")
    item = PASSING["derived"]["comparisons"][-1]
    for bounds, digits, words in (
        (item["engine"]["interval"], 1, "Wilson "),
        (item["engine"]["exact"], 1, "exact "),
        (item["interval"], 2, ""),
        (item["newcombe"], 2, ""),
    ):
        low, high = (f"{100 * bound:.{digits}f}".replace("-", "\N{MINUS SIGN}") for bound in bounds)
        assert f"{words}{low} to {high}" in part
    assert f"{item['mcnemar']:.3g}" in part


def test_rebuilds_show_their_spread_and_every_build() -> None:
    page = render_html(REBUILT)
    part = section(page, "rebuilds")
    for build in REBUILT["derived"]["rebuilds"]["builds"]:
        assert build["sha256"][:8] in part
        assert f"{100 * build['worst_case']['accuracy']:.1f}" in part
    assert f"differ by {100 * REBUILT['derived']['rebuilds']['spread']:.1f} points" in part
    assert "3 builds" in Reader(page[page.index("<header>") : page.index("</header>") + 9]).words
    assert 'id="rebuilds"' not in render_html(PASSING)


def test_every_hash_and_source_is_on_the_page() -> None:
    page = render_html(PASSING)
    assert all(found in section(page, "origin") for found in PASSING["measured"]["hashes"].values())
    assert all(source["fingerprint"] in section(page, "tested") for source in PASSING["measured"]["sources"])
    report = copy.deepcopy(PASSING)
    report["measured"]["hashes"]["gradient"], report["measured"]["sources"] = None, []
    words = Reader(render_html(report)).words
    assert "Backward graph none" in words
    assert "Inputs also from" not in words


def test_an_engine_that_is_asked_several_times_says_so() -> None:
    assert "8 calls are averaged" in Reader(render_html(with_parts(PASSING, "measured", expectation=8))).words
    assert "averaged" not in section(render_html(PASSING), "tested")


def test_every_check_of_a_report_is_explained_in_the_package() -> None:
    page = render_html(PASSING)
    explained = re.findall(r'<section id="about-(\w+)">', page)
    assert explained == [check["name"] for check in PASSING["derived"]["checks"]]
    assert page.count("<em>Measures</em>") == page.count("<em>If it fails</em>") == len(explained)


def test_ranked_products_are_listed_with_what_each_removes() -> None:
    words = Reader(section(render_html(ranked()), "tested")).words
    assert "Ranked products 14 by what each costs in int8" in words
    assert "1. node_MatMul_2 kept in fp32 MatMul , removes 7 of 9 flips, risk 18.5" in words.replace(
        "MatMul,", "MatMul ,"
    )
    assert "12. node_MatMul_13 kept in fp32 MatMul of blocks.13.fc1 , risk 7.5" in words.replace("fc1,", "fc1 ,")
    assert "node_MatMul_12 " not in words  # below the tenth, and not kept
    assert "Ranked products" not in render_html(fallen_back())


def test_a_precision_fallback_names_every_step_and_the_engine_its_own() -> None:
    report = fallen_back()
    text = render_html(report)
    assert "int8 was asked for" in text
    for attempt in report["derived"]["fallback"]["attempts"]:
        assert f"{attempt['step']}: {attempt['verdict']}" in text
    assert "at step fp32 last blocks" in text
    assert "was asked for" not in render_html(passing())
