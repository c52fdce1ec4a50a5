"""Each check that an engine alone cannot trip, held against evidence made for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advcal_edge.spec import image
from advcal_edge.verify.checks.masking import (
    black_box_not_stronger,
    independent_reference,
    not_more_robust,
    transfer_not_stronger,
)
from advcal_edge.verify.checks.rounding import round_to_grid, survives_rounding
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Evidence

N = 300


def evidence(route: str, side: str, fools: int) -> Evidence:
    """An attack on all samples that fooled the engine on the first `fools` of them."""
    rank = (np.arange(N) < fools).astype(np.int64)
    return Evidence(route, "attack", side, np.ones(N, np.bool_), np.ones(N, np.int64), rank, rank)


@pytest.mark.parametrize("route", ["black box", "label only"])
@pytest.mark.parametrize(("alone", "status"), [(0, "pass"), (3, "pass"), (12, "fail")])
def test_who_sees_less_must_not_find_more(alone: int, status: str, route: str) -> None:
    shown = [evidence("gradient", "engine", 50), evidence(route, "engine", 50 + alone)]
    assert black_box_not_stronger(shown).status == status
    on_reference = [evidence("gradient", "engine", 50), evidence(route, "reference", 50 + alone)]
    assert black_box_not_stronger([*on_reference, evidence(route, "engine", 50)]).status == "pass"
    assert black_box_not_stronger(shown[1:]).status == "skipped"


@pytest.mark.parametrize(("lead", "status"), [(-20, "pass"), (10, "pass"), (40, "fail")])
def test_transfer(lead: int, status: str) -> None:
    shown = [evidence("transfer", "reference", 60 + lead), evidence("gradient", "engine", 60)]
    assert transfer_not_stronger(shown).status == status


@pytest.mark.parametrize(("gain", "status"), [(-10, "pass"), (2, "pass"), (20, "fail")])
def test_gain_over_the_source_is_suspicious(gain: int, status: str) -> None:
    reference, engine = np.arange(N) < 150, np.arange(N) < 150 + gain
    worst = Comparison("worst case", reference, engine, 0.02, decides=True)
    assert not_more_robust(worst, margin=0.02).status == status


def test_a_reference_that_is_the_engine_is_named() -> None:
    same = independent_reference({"sha256": "a"}, {"kind": "onnx", "sha256": "a"})
    assert (same.status, same.required) == ("fail", False)
    assert independent_reference({"sha256": "a"}, {"kind": "torch"}).status == "pass"


def test_rounding_tells_sub_grey_level_successes() -> None:
    fooled, moved = np.arange(20) < 10, np.full(20, 0.2 / 255, np.float32)
    check = survives_rounding(image(8), fooled, np.zeros(20, np.bool_), moved)
    assert (check.status, check.measured, check.required) == ("fail", 0.0, False)
    assert survives_rounding(image(8), fooled, np.arange(20) < 8, moved).measured == 0.8
    assert survives_rounding(image(8), np.zeros(20, np.bool_), fooled, moved).status == "skipped"
    fine = survives_rounding(replace(image(8), bit_depth=16), fooled, fooled, moved)
    assert (fine.status, fine.required) == ("skipped", False)  # a fifth of a grey level is fifty steps of 16 bits
    assert "16-bit" in fine.why


def test_the_grid_is_the_sensors() -> None:
    x = np.linspace(0, 1, 1000, dtype=np.float32)
    np.testing.assert_allclose(round_to_grid(x, image(8)) * 255, np.rint(x * 255), atol=1e-4)
