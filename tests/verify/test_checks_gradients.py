"""Gradients held against the engine itself: what is missing, mis-scaled or starved must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from masks import GROUPS, Bent, Hashed, Purified, against, landscape, slope
from numpy.typing import NDArray
from saboteurs import GRAPHS, sabotage
from test_checks_trials import first

from advcal_edge.attacks import AttackedModel
from advcal_edge.attacks.losses import margin
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.model import Pullback
from advcal_edge.report.checks import RULES
from advcal_edge.runtime.model import EngineGradient, open_vjp
from advcal_edge.verify.checks.gradients import (
    finite_differences,
    gradient_norms,
    gradient_of,
    gradients_alive,
    slopes_over_gradient,
    step_of,
)
from advcal_edge.verify.checks.outputs import repeatable
from advcal_edge.verify.models import open_engine


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_honest_gradients_are_as_long_as_the_engine_is_steep(exported: Bundle, precision: str) -> None:
    check = gradient_norms(*first(exported, precision))
    assert (check.status, check.required) == ("pass", True), check
    assert check.measured == pytest.approx(
        1, abs=0.5 if precision == "int8" else 0.05
    )  # small steps drown in the rounding to 8 bits


def right_half(g: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(g.shape[-1]) < g.shape[-1] // 2, g, 0).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_half_a_gradient_predicts_its_own_direction_and_is_too_short(exported: Bundle, precision: str) -> None:
    engine, samples = first(exported, precision)
    half = replace(engine, gradient=Bent(engine, right_half))
    assert finite_differences(half, samples).status == "pass"  # it only ever looks where the half gradient points
    assert gradient_norms(half, samples).status == "fail"


@pytest.mark.parametrize("factor", [0.0, 0.01, 0.5, 2.0, 100.0, np.nan])
def test_gradients_of_another_scale_fail(exported: Bundle, factor: float) -> None:
    engine, samples = first(exported, "fp32")
    scaled = replace(engine, gradient=Bent(engine, lambda g: g * np.float32(factor)))
    assert gradient_norms(scaled, samples).status == "fail"


@pytest.mark.parametrize(("rounds", "dead"), [(10, True), (3, False)])
def test_a_purification_that_is_the_identity_fails(exported: Bundle, rounds: int, dead: bool) -> None:
    encoder = module_from_bundle(exported)
    model = TorchRunner(Purified(encoder, rounds).eval(), exported.modality.input).attacked(exported.centers())
    _, samples = first(exported, "fp32")
    x = torch.tensor(samples.x)
    with torch.no_grad():
        torch.testing.assert_close(model.runner(x), encoder(x), atol=1e-5, rtol=0)  # it does nothing
    assert gradient_norms(model, samples).status == "fail"
    assert finite_differences(model, samples).status == "fail"
    assert (gradients_alive(model, samples).status == "fail") == dead


def test_noise_that_repeats_itself_fails(exported: Bundle) -> None:
    engine, samples = first(exported, "fp32")
    runner = Hashed(engine.runner, 0.02)
    backward = open_vjp(exported.file("onnx/vjp.fp32.onnx"), exported.modality.input)
    hashed = replace(engine, runner=runner, gradient=EngineGradient(runner, backward))
    assert repeatable(hashed, samples).status == "pass"
    assert gradient_norms(hashed, samples).status == "fail"
    assert finite_differences(hashed, samples).status == "fail"


@pytest.mark.parametrize(
    ("name", "caught"),
    [("added_noise", gradient_norms), ("rounded_input", finite_differences), ("overflowing", gradient_norms)],
)
def test_sabotaged_graphs(exported: Bundle, workshop: Path, name: str, caught: Callable[..., Any]) -> None:
    path = sabotage(exported.file("onnx/forward.fp32.onnx"), workshop / f"norms {name}.onnx", GRAPHS[name])
    engine = open_engine(exported, path)
    assert caught(engine, first(exported, "fp32")[1]).status == "fail"


def test_an_engine_that_bends_within_a_grey_level_passes() -> None:
    """The curvature of a coarse sensor's encoder is no lie: shorter steps show that its gradient is right."""
    model, samples = landscape(against(lambda t: torch.sin(60 * t).mean(dim=1) - 2))
    assert finite_differences(model, samples).status == "pass"
    assert gradient_norms(model, samples).status == "pass"
    reversed_ = replace(model, gradient=Bent(model, lambda g: -g))
    assert finite_differences(reversed_, samples).status == "fail"


class OnlyClean:
    """A gradient that is honest on clean samples and bent everywhere else."""

    def __init__(
        self, honest: AttackedModel, clean: NDArray[Any], bend: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> None:
        self.honest, self.clean, self.bend = honest.white_box(), clean, bend

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        z, pullback = self.honest.vjp(x)
        off = not (x.shape == self.clean.shape and np.array_equal(x, self.clean))
        return z, (lambda v: self.bend(pullback(v))) if off else pullback


@pytest.mark.parametrize(
    ("check", "bend"),
    [
        (gradients_alive, lambda g: g * 0),
        (finite_differences, lambda g: -g),
        (gradient_norms, lambda g: g / 2),
    ],
)
def test_gradients_are_looked_at_off_the_clean_samples_too(
    exported: Bundle, check: Callable[..., Any], bend: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    engine, samples = first(exported, "fp32")
    assert check(engine, samples).status == "pass"
    bent = check(replace(engine, gradient=OnlyClean(engine, samples.x, bend)), samples)
    assert bent.status == "fail"
    assert "attacked" in bent.why


@given(missing=st.integers(0, GROUPS - 1))
def test_the_ratio_is_the_root_of_what_is_missing(missing: int) -> None:
    """Of four equal parts of a gradient, `missing` are cut off: the norm shrinks by sqrt(1 - missing / 4)."""
    model, samples = landscape(against(slope), n=64)
    keep = (np.arange(3 * 4 * 4) % GROUPS >= missing).reshape(3, 4, 4)
    v, g = gradient_of(margin, model, samples)
    ratio = slopes_over_gradient(model, samples, v, g * keep, step_of(samples.threat))
    assert np.sqrt((ratio**2).mean()) == pytest.approx((1 - missing / GROUPS) ** -0.5, rel=0.25 if missing else 1e-3)


def test_values_at_the_bounds_bias_nothing() -> None:
    """Half of the values can move one way only: they are left out on both sides."""
    model, samples = landscape(against(slope))
    x = samples.x.copy()
    x[..., :2] = 1.0
    edge = replace(samples, x=x)
    check = gradient_norms(model, edge)
    assert check.measured == pytest.approx(1, abs=0.02)
    assert check.measured is not None
    assert check.measured <= RULES["gradient_norms"].limit


def test_without_a_gradient_it_is_skipped(exported: Bundle) -> None:
    engine, samples = first(exported, "fp32")
    assert gradient_norms(AttackedModel(engine.runner, engine.centers), samples).status == "skipped"
