from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from advcal_edge.report.path_plot import PathPlot, paths
from advcal_edge.report.plots import (
    APART,
    DRIFT_BOTTOM,
    DRIFT_LEFT,
    DRIFT_RIGHT,
    DRIFT_TOP,
    HEIGHT,
    TOP,
    Axis,
    CurvePlot,
    DriftPlot,
    DropPlot,
    round_step,
)

SHARE = st.floats(-1, 1)
POSITIVE = st.floats(0, 1e3)


@given(st.floats(1e-6, 1e6))
def test_steps_are_round_and_never_too_fine(least: float) -> None:
    step = round_step(least)
    assert step >= least * (1 - 1e-9)
    assert f"{step:e}"[0] in "125"


def test_ticks_are_multiples_inside_the_axis() -> None:
    assert Axis(-1.3, 4.1, 0, 100).ticks(6) == [-1, 0, 1, 2, 3, 4]
    assert Axis(-0.25, 0.55, 0, 100).ticks(4) == [-0.2, 0.0, 0.2, 0.4]


def test_an_axis_may_run_backwards() -> None:
    assert Axis(0, 10, 200, 100).at(2.5) == 175


@given(st.lists(st.tuples(SHARE, SHARE, SHARE), min_size=1, max_size=5), st.floats(0.001, 0.9))
def test_drops_lie_inside_their_intervals_and_the_plot(found: list[tuple[float, float, float]], margin: float) -> None:
    items = []
    for triple in found:
        low, drop, high = sorted(triple)
        items.append({"name": "x", "drop": drop, "interval": [low, high], "decides": True})
    plot = DropPlot.of(items, margin)
    assert 2 <= plot.zero < plot.margin <= 98
    assert all(2 <= row.low <= row.at <= row.high <= 98 for row in plot.rows)
    assert 2 <= len(plot.ticks) <= 8


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=20))
def test_every_mark_lies_inside_the_frame(pairs: list[tuple[float, float]]) -> None:
    ties = [k for k, (m, c) in enumerate(pairs) if 2 * c >= m]
    plot = DriftPlot.of({"margin": [m for m, _ in pairs], "change": [c for _, c in pairs]}, ties)
    for x, y in (*plot.safe, *plot.near_ties):
        assert DRIFT_LEFT <= x <= DRIFT_RIGHT
        assert DRIFT_TOP <= y <= DRIFT_BOTTOM
    assert bool(plot.near_ties) == any(2 * c >= m for m, c in pairs)
    assert bool(plot.safe) == any(2 * c < m for m, c in pairs)
    assert 1 <= len(plot.x_ticks) <= 8
    assert 1 <= len(plot.y_ticks) <= 8


@pytest.mark.parametrize("change", [0.004, 0.006])
def test_the_diagonal_separates_the_marks(change: float) -> None:
    plot = DriftPlot.of({"margin": [0.01], "change": [change]}, [0] if 2 * change >= 0.01 else [])
    ((x, y),) = plot.safe or plot.near_ties
    x1, y1, x2, y2 = plot.diagonal
    on_line = y1 + (x - x1) / (x2 - x1) * (y2 - y1)
    assert (y < on_line) is bool(plot.near_ties)


RADII = st.lists(st.floats(1e-6, 1, exclude_max=True), min_size=1, max_size=12, unique=True).map(sorted)


def side(radii: list[float], accuracies: list[float]) -> dict[str, object]:
    points = [
        {"eps": eps, "correct": 0, "accuracy": accuracy, "interval": [accuracy / 2, (1 + accuracy) / 2]}
        for eps, accuracy in zip(radii, accuracies, strict=True)
    ]
    return {"attack": "PGD(steps=3)", "samples": 50, "points": points}


@given(RADII, st.floats(1e-6, 1), st.data())
def test_radii_stay_in_order_between_zero_and_the_whole_width(
    between: list[float], tested: float, data: st.DataObject
) -> None:
    radii = [0.0, *between, 1.0]
    accuracies = data.draw(st.lists(st.floats(0, 1), min_size=len(radii), max_size=len(radii)))
    curve = side(radii, accuracies)
    plot = CurvePlot.of({"reference": curve, "engine": curve}, tested)
    for found in plot.sides:
        x = [at for at, _ in found.marks]
        assert x == sorted(x)
        assert (x[0], x[-1]) == (9.0, 97.0)
        assert all(TOP <= y <= TOP + HEIGHT for _, y in found.marks)
        assert found.band.count("L") == 2 * len(radii) - 1
        assert found.line.count("L") == len(radii) - 1
    assert 9.0 <= plot.tested <= 97.0
    assert 9.0 < plot.cut < 97.0
    at = [tick.at for tick in plot.ticks]
    assert all(b - a >= APART for a, b in itertools.pairwise(at))
    assert plot.tested in at
    assert len(plot.rows) == len(radii)


def test_labels_for_a_phone_are_fewer_and_hold_both_ends() -> None:
    radii = [0.0, *(k / 255 for k in (0.5, 1, 2, 4, 8, 16, 64)), 1.0]
    curve = side(radii, [1 - eps for eps in radii])
    plot = CurvePlot.of({"reference": curve, "engine": curve}, 4 / 255)
    assert [tick.label for tick in plot.ticks] == [
        *("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "1")
    ]
    assert [tick.label for tick in plot.ticks if not tick.wide_only] == ["0", "1/255", "4/255", "16/255", "64/255", "1"]


def test_sides_may_have_other_radii_and_a_radius_beyond_the_last() -> None:
    curves = {"reference": side([0.0, 0.5, 1.0], [1, 0.5, 0]), "engine": side([0.0, 0.25, 1.0], [1, 0.7, 0])}
    plot = CurvePlot.of(curves, 2.0)
    assert [(label, sorted(found)) for label, found in plot.rows] == [
        ("0", ["engine", "reference"]),
        ("63.75/255", ["engine"]),
        ("127.5/255", ["reference"]),
        ("1", ["engine", "reference"]),
    ]
    assert plot.tested == 97.0


def test_looks_are_drawn_from_one_to_one_up_to_the_line_that_decides() -> None:
    found = {"n": [16, 32], "passing": [0.1, 1.7], "failing": [-0.1, -9.0], "decided": 32, "verdict": "pass"}
    plot = PathPlot.of("clean", found, 0.025)
    assert plot.passing.startswith(plot.failing[:3])
    first, *_, last = (tuple(map(float, point.split())) for point in plot.passing[1:].split("L"))
    assert plot.decided == last[0] > first[0]
    assert last[1] < plot.threshold < first[1]  # upwards is towards zero
    assert max(float(point.split()[1]) for point in plot.failing[1:].split("L")) == 100
    assert "1 : 1" in [odds for _, odds in plot.y_ticks]


@given(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=5), st.floats(1e-300, 0.025))
def test_no_evidence_makes_a_plot_large(evidence: list[float], level: float) -> None:
    n = list(range(16, 16 * len(evidence) + 1, 16))
    found = {"n": n, "passing": evidence, "failing": evidence[::-1], "decided": None, "verdict": "inconclusive"}
    (plot,) = paths({"level": level, "paths": {"clean": found}})
    assert len(plot.y_ticks) < 12
    assert all(0 <= at <= 100 for at, _ in plot.y_ticks)
