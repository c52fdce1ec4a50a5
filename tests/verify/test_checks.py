"""Each check that an engine alone cannot trip, held against evidence made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_saboteurs import failed, run

from advcal_edge.attacks import Victim
from advcal_edge.bundle import Bundle
from advcal_edge.cli.victims import engine_victim
from advcal_edge.model import Pullback
from advcal_edge.spec import image
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import Samples, Verification
from advcal_edge.verify.checks.masking import (
    black_box_not_stronger,
    independent_reference,
    not_more_robust,
    transfer_not_stronger,
)
from advcal_edge.verify.checks.rounding import round_to_grid, survives_rounding
from advcal_edge.verify.evidence import Crafted, Evidence, Side

N = 300


class BentGradient:
    """An honest engine's gradient, multiplied by what a broken backward graph might do to it."""

    def __init__(self, honest: Victim, factor: NDArray[np.float32]) -> None:
        self.honest, self.factor = honest.white_box(), factor

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        z, pullback = self.honest.vjp(x)
        factor = np.resize(self.factor, len(x)).reshape(-1, *(1,) * (x.ndim - 1))
        return z, lambda v: pullback(v) * factor


@pytest.mark.parametrize(
    ("factor", "caught_by"),
    [
        ([0.0], {"gradients_alive", "finite_differences"}),
        ([np.nan], {"gradients_alive"}),
        ([-1.0], {"finite_differences", "transfer_not_stronger"}),
        ([1.0, 1.0, -1.0], {"finite_differences"}),
    ],
    ids=["dead", "nan", "reversed", "a third reversed"],
)
def test_a_broken_backward_graph_fails(
    exported: Bundle, prepared: Verification, factor: list[float], caught_by: set[str]
) -> None:
    honest, info = engine_victim(exported, exported.file("onnx/forward.fp32.onnx"))
    bent = Victim(honest.runner, honest.centers, BentGradient(honest, np.array(factor, np.float32)))
    report = run(prepared, bent, info)
    assert report["verdict"] == "fail"
    assert failed(report) >= caught_by, failed(report)


def evidence(route: str, side: Side, fools: int) -> Evidence:
    """An attack on all samples that fooled the engine on the first `fools` of them."""
    flags = np.arange(N) < fools
    everywhere = np.ones(N, np.bool_)
    crafted = Crafted(route, "attack", side, np.zeros((N, 1), np.float32), everywhere, np.ones(N, np.int64), flags)
    return Evidence(crafted, flags.astype(np.int64), flags.astype(np.int64))


@pytest.mark.parametrize(("alone", "status"), [(0, "pass"), (3, "pass"), (12, "fail")])
def test_black_box(alone: int, status: str) -> None:
    shown = [evidence("gradient", "engine", 50), evidence("black box", "engine", 50 + alone)]
    assert black_box_not_stronger(shown).status == status
    on_reference = [evidence("gradient", "engine", 50), evidence("black box", "reference", 50 + alone)]
    assert black_box_not_stronger([*on_reference, evidence("black box", "engine", 50)]).status == "pass"
    assert black_box_not_stronger(shown[1:]).status == "skipped"


@pytest.mark.parametrize(("lead", "status"), [(-20, "pass"), (10, "pass"), (40, "fail")])
def test_transfer(lead: int, status: str) -> None:
    shown = [evidence("transfer", "reference", 60 + lead), evidence("gradient", "engine", 60)]
    assert transfer_not_stronger(shown).status == status


@pytest.mark.parametrize(("gain", "status"), [(-10, "pass"), (2, "pass"), (20, "fail")])
def test_gain_over_the_source_is_suspicious(gain: int, status: str) -> None:
    reference, engine = np.arange(N) < 150, np.arange(N) < 150 + gain
    assert not_more_robust(reference, engine, margin=0.02).status == status


def test_a_reference_that_is_the_engine_is_named() -> None:
    same = independent_reference({"sha256": "a"}, {"kind": "onnx", "sha256": "a"})
    assert (same.status, same.required) == ("fail", False)
    assert independent_reference({"sha256": "a"}, {"kind": "torch"}).status == "pass"


def test_rounding_tells_sub_grey_level_successes(exported: Bundle, prepared: Verification) -> None:
    honest, _ = engine_victim(exported, exported.file("onnx/forward.fp32.onnx"))
    x, y = prepared.samples.x[:20], np.asarray(honest.centers.predict(honest.runner(prepared.samples.x[:20])))
    samples = Samples(x, y, ThreatModel("linf", 4 / 255, (0.0, 1.0)), 0)
    tiny = np.clip(x + np.float32(0.2 / 255), 0, 1)  # claimed to fool; the grid brings the clean sample back
    everywhere, ones = np.ones(20, np.bool_), np.ones(20, np.int64)
    claimed = Evidence(Crafted("gradient", "attack", "engine", tiny, everywhere, ones, everywhere), ones, ones)
    check = survives_rounding(honest, exported.modality, samples, [claimed])
    assert (check.status, check.measured, check.required) == ("fail", 0.0, False)
    assert survives_rounding(honest, exported.modality, samples, []).status == "skipped"
    fine = survives_rounding(honest, replace(exported.modality, bit_depth=16), samples, [claimed])
    assert (fine.status, fine.required) == ("skipped", False)  # a fifth of a grey level is fifty steps of 16 bits
    assert "16-bit" in fine.why


def test_the_grid_is_the_sensors() -> None:
    x = np.linspace(0, 1, 1000, dtype=np.float32)
    np.testing.assert_allclose(round_to_grid(x, image(8)) * 255, np.rint(x * 255), atol=1e-4)
