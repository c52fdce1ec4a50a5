"""The page of a study: what it says, where its marks are, and that no name in it becomes markup."""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from page_reader import Reader

from advcal_edge.columns import COLUMNS, HEADINGS
from advcal_edge.errors import BundleError
from advcal_edge.report.study import Figure, Line, Results, markdown
from advcal_edge.report.study_groups import LOOKS, gains_of, groups_of, looks_of, method_of
from advcal_edge.report.study_page import render_study
from advcal_edge.report.study_plots import CROWDED, HEIGHT, LEFT, RIGHT, SHAPES, TOP, DotPlot, RadiusPlot, trade_offs

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
BINDLITE = json.loads((STUDIES / "bindlite.json").read_text(encoding="utf-8"))
HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)><!--|"
RADII = ("2/255", "8/255", "4/255")
SHARE = st.floats(0, 1)


def figures(clean: float, worst: float, n: int = 100) -> dict[str, Figure]:
    shares = {"clean": clean, "static": worst, "pgd": worst, "apgd": worst, "square": clean, "worst": worst}
    return {column: Figure.of([share, max(share - 0.02, 0)], n) for column, share in shares.items()}


def line(values: dict[str, str], about: dict[str, str], clean: float, worst: float) -> Line:
    place = {"encoder": "e", "modality": "image", "data": "d", "norm": "linf", "eps": "4/255"}
    return Line(values, {**place, **about}, 2, 100, figures(clean, worst), 0.01, 0.0)


def results(lines: list[Line], **changes: Any) -> Results:
    named: dict[str, Any] = {"name": "mine", "cells": 9, "finished": 8, "budgets": {}, "environments": []}
    return Results(**{**named, **changes}, lines=lines)


def grid(encoders: tuple[str, ...] = ("a", "b"), radii: tuple[str, ...] = RADII) -> list[Line]:
    """Two sensors, with two presets each, at every radius."""
    return [
        line(
            {"case": f"{encoder}-{sensor}", "threat.eps": eps, "preset": preset, "objective.attacked": objective},
            {"encoder": encoder, "modality": sensor, "eps": eps},
            0.9 - 0.1 * (preset == "paper"),
            {"frozen": 0.3, "paper": 0.2, "fast": 0.6}[preset],
        )
        for encoder, sensor, eps, (preset, objective) in itertools.product(
            encoders, ("image", "audio"), radii, (("frozen", "default"), ("paper", "ce"), ("fast", "default"))
        )
    ]


def test_the_committed_page_is_what_this_version_renders() -> None:
    found = Results.from_json(BINDLITE, "bindlite")
    assert (STUDIES / "bindlite.html").read_text(encoding="utf-8") == render_study(found)
    assert (STUDIES / "bindlite.md").read_text(encoding="utf-8") == markdown(found.lines)
    assert (STUDIES / "bindlite.html").stat().st_size < 300_000


def test_every_figure_is_on_the_page_with_its_interval_and_spread() -> None:
    words = Reader(render_study(Results.from_json(BINDLITE, "bindlite"))).words
    assert "32 of 32 on AMD EPYC, 2 cores" in words
    for found in BINDLITE["lines"]:
        for figure in found["figures"].values():
            low, high = figure["interval"]
            assert f"{100 * figure['mean']:.1f} {100 * low:.1f} to {100 * high:.1f}" in words
            if figure["low"] != figure["high"]:
                assert f"({100 * figure['low']:.1f} to {100 * figure['high']:.1f})" in words
    assert all(heading in words for heading in HEADINGS.values())


def test_the_page_is_closed_holds_no_script_and_allows_its_style_alone() -> None:
    page = render_study(results(grid()))
    reader = Reader(page)
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert not set(reader.tags) & {"script", "iframe", "object", "embed", "link", "base", "form", "img"}
    assert all(reference.startswith("#") for reference in reader.references)
    assert {reference[1:] for reference in reader.references} <= set(reader.ids)
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert f"style-src 'sha256-{digest}'" in html.unescape(policy)
    assert not re.search(r'\s(style|on\w+)="', page)
    used = {name for names in re.findall(r'class="([^"]+)"', page) for name in names.split()}
    assert used - {"radius", "n"} <= set(re.findall(r"\.([a-z][\w-]*)", style))


def test_every_plot_has_a_title_and_a_text() -> None:
    page = render_study(results(grid()))
    plots = re.findall(r'<svg [^>]*role="img" aria-labelledby="([\w-]+) ([\w-]+)"', page)
    assert len(plots) == 4 + 4 + 1  # for each of four groups, then the trade-off
    for title, text in plots:
        assert re.search(rf'<title id="{title}">[^<]+</title>', page)
        assert re.search(rf'<desc id="{text}">[^<]+</desc>', page)


def test_no_name_becomes_markup() -> None:
    hostile = line(
        {"case": HOSTILE, "preset": HOSTILE, "train.epochs": HOSTILE},
        {"encoder": HOSTILE, "modality": HOSTILE, "data": HOSTILE, "eps": HOSTILE},
        0.9,
        0.5,
    )
    lines = [*grid(), hostile]
    found = results(
        lines, name=HOSTILE, budgets={HOSTILE: [HOSTILE]}, environments=[(1, {HOSTILE: HOSTILE, "device": HOSTILE})]
    )
    page = render_study(Results.from_json(found.to_json(), "x"))
    assert Reader(page).open == []
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    table = markdown(lines)
    assert "<" not in table
    assert all(
        len(re.findall(r"(?<!\\)\|", row)) == len(table.splitlines()[1].split("|")) - 1 for row in table.splitlines()
    )


def test_results_survive_a_round_trip() -> None:
    found = results(grid(), budgets={"pgd": ["PGD()"]}, environments=[(3, {"python": "3.11"})])
    assert Results.from_json(json.loads(found.to_bytes()), "other") == found
    assert Results.from_json(BINDLITE, "older").name == "older"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("lines"), "`lines` is missing"),
        (lambda d: d["lines"].clear(), "expected a list of at least 1"),
        (lambda d: d["lines"][0]["figures"].pop("worst"), "`lines[0].figures.worst` is missing"),
        (lambda d: d["lines"][0]["figures"]["worst"].update(mean=1.5), "expected a fraction from 0 to 1"),
        (lambda d: d["lines"][0]["figures"].update(best={}), "unknown field"),
        (lambda d: d["lines"][0].update(n=0), "expected a whole number from one"),
        (lambda d: d["lines"][0]["values"].update(preset=3), "expected text"),
        (lambda d: d.update(schema="advcal-edge/study/9"), "expected `advcal-edge/study/1`"),
        (lambda d: d.update(derived={}), "unknown field `derived`"),
    ],
)
def test_another_document_is_refused(change: Any, words: str) -> None:
    document = copy.deepcopy(BINDLITE)
    change(document)
    with pytest.raises(BundleError, match=re.escape(words)):
        Results.from_json(document, "bindlite")


def test_groups_are_encoders_sensors_and_data_and_blocks_are_rising_radii() -> None:
    groups = groups_of(results(grid()))
    assert [group.title for group in groups] == ["a · image", "a · audio", "b · image", "b · audio"]
    for group in groups:
        assert [block.radius for block in group.blocks] == ["linf 2/255", "linf 4/255", "linf 8/255"]
        assert all([row.label for row in block.rows] == ["frozen", "paper, ce", "fast"] for block in group.blocks)
    assert looks_of(groups) == {"frozen": 0, "paper, ce": 1, "fast": 2}
    gains = [gain for gain in gains_of(groups) if gain.radius == "linf 4/255"]
    assert [(gain.method, gain.better, gain.groups) for gain in gains] == [("paper, ce", 0, 4), ("fast", 4, 4)]
    assert gains[1].worst == pytest.approx((0.3, 0.3, 0.3), abs=0.01)


def test_cases_of_one_group_stay_apart() -> None:
    lines = [
        line({"case": case, "preset": preset}, {}, 0.9, worst)
        for case, preset, worst in (("a", "frozen", 0.3), ("a", "fast", 0.5), ("b", "frozen", 0.1), ("b", "fast", 0.2))
    ]
    (group,) = groups_of(results(lines))
    assert [row.label for row in group.rows] == ["a: frozen", "a: fast", "b: frozen", "b: fast"]
    (gain,) = gains_of([group])
    assert gain.worst == pytest.approx((0.1, 0.15, 0.2), abs=0.005)  # each against its own frozen encoder


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"preset": "frozen", "seed": "1"}, "frozen"),
        ({"preset": "paper", "objective.attacked": "l2", "threat.eps": "2/255"}, "paper, l2"),
        ({"preset": "thorough", "objective.attacked": "default"}, "thorough"),
        ({"train.epochs": "4", "adapter.kind": "norms", "case": "x"}, "epochs 4, norms"),
        ({"modality": "image"}, "calibrated"),
    ],
)
def test_methods_are_named_by_what_the_study_varies(values: dict[str, str], name: str) -> None:
    assert method_of(values) == name


def test_what_else_varies_is_in_the_title() -> None:
    lines = [line({"preset": "frozen", "evaluate.steps": steps}, {}, 0.9, 0.3) for steps in ("10", "50")]
    assert [group.title for group in groups_of(results(lines))] == [
        "image · evaluate.steps 10",
        "image · evaluate.steps 50",
    ]


@given(st.lists(st.tuples(SHARE, SHARE), min_size=2, max_size=12))
def test_marks_lie_inside_their_intervals_and_their_frames(pairs: list[tuple[float, float]]) -> None:
    lines = [line({"preset": "frozen" if not k else f"p{k}"}, {}, max(pair), min(pair)) for k, pair in enumerate(pairs)]
    groups = groups_of(results(lines))
    plot = DotPlot.of(groups[0])
    for row in plot.blocks[0].rows:
        assert row.worst.at <= row.clean.at
        for mark in (row.clean, row.worst):
            assert 0 <= mark.low <= mark.at <= mark.high <= 100
    (trade,) = trade_offs(groups)
    for spot in trade.spots:
        assert LEFT <= spot.x <= RIGHT
        assert TOP <= spot.y <= TOP + HEIGHT
        if trade.limit is not None and trade.limit[0] <= spot.x <= trade.limit[2]:
            share = (spot.x - trade.limit[0]) / (trade.limit[2] - trade.limit[0])
            assert spot.y <= trade.limit[1] + share * (trade.limit[3] - trade.limit[1]) + 0.1


def test_curves_rise_from_left_to_right_and_need_two_radii() -> None:
    group = groups_of(results(grid()))[0]
    plot = RadiusPlot.of(group)
    assert [label for _, label in plot.ticks] == ["2/255", "4/255", "8/255"]
    for curve in plot.curves:
        places = [x for x, _, _ in curve.points]
        assert places == sorted(places) == [x for x, _ in plot.ticks]
    assert places[1] - places[0] == pytest.approx((places[2] - places[1]) / 2, abs=0.02)
    assert 'id="radius"' in render_study(results(grid()))
    assert 'id="radius"' not in render_study(results(grid(radii=("4/255",))))


def test_many_marks_are_split_by_sensor() -> None:
    few, many = groups_of(results(grid())), groups_of(results(grid(encoders=tuple("abcdefgh"))))
    assert [trade.title for trade in trade_offs(few)] == [""]
    assert sum(len(group.rows) for group in many) > CROWDED
    assert [trade.title for trade in trade_offs(many)] == ["image", "audio"]


def test_names_in_the_trade_off_cover_nothing() -> None:
    (trade,) = trade_offs(groups_of(Results.from_json(BINDLITE, "bindlite")))
    assert {label.text for label in trade.labels} == {found["values"]["modality"] for found in BINDLITE["lines"]}


def test_looks_differ_in_shape_and_in_lightness_on_both_pages() -> None:
    assert len(set(SHAPES)) == len(SHAPES) == LOOKS
    folder = ROOT / "advcal_edge/report"
    light, dark = (folder / "study.css").read_text().split("@media (prefers-color-scheme: dark)")[:2]
    for text, page in ((light, 1.0), (dark.split("}\n}")[0], luminance("#15181c"))):
        looks = [luminance(color) for color in re.findall(r"--look-\d: (#\w{6})", text)]
        assert len(looks) == LOOKS
        for look in looks:
            assert (max(look, page) + 0.05) / (min(look, page) + 0.05) >= 3  # WCAG 2.1, 1.4.11
        assert all(abs(lightness(one) - lightness(other)) > 4 for one, other in itertools.combinations(looks, 2))


def luminance(color: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lightness(y: float) -> float:
    """L* of a luminance (CIE 1976)."""
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_every_column_has_a_heading() -> None:
    assert tuple(HEADINGS) == COLUMNS
