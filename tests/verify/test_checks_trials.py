"""Attacks held against each other: each check rejects a model made for it and lets an honest one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from masks import EPS, SPEC, Bent, Scores, against, barrier, decoy, fragile, landscape, slope, staircase

from advcal_edge.attacks import PGD, AttackedModel, run_attack
from advcal_edge.bundle import Bundle
from advcal_edge.report.checks import Check
from advcal_edge.threat import Norm, ThreatModel
from advcal_edge.verify import Samples
from advcal_edge.verify.checks.comparison import (
    losses_agree,
    more_steps_not_stronger,
    noise_harmless,
    one_step_not_stronger,
    targets_agree,
)
from advcal_edge.verify.checks.trials import DRAWS, Trials, draw_noise, try_attacks
from advcal_edge.verify.models import open_engine

Judge = Callable[[Trials], Check]
JUDGES: tuple[Judge, ...] = (
    more_steps_not_stronger,
    one_step_not_stronger,
    noise_harmless,
    losses_agree,
    targets_agree,
)


def first(bundle: Bundle, precision: str, n: int = 32) -> tuple[AttackedModel, Samples]:
    probe = bundle.probe().head(n)
    engine = open_engine(bundle, bundle.file(f"onnx/forward.{precision}.onnx"))
    return engine, Samples(probe.x, probe.y, bundle.threat, seed=0)


def outcomes(trials: Trials) -> dict[str, str]:
    return {check.name: check.status for check in (judge(trials) for judge in JUDGES)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_honest_engines_pass_all(exported: Bundle, precision: str) -> None:
    trials = try_attacks(*first(exported, precision))
    assert set(outcomes(trials).values()) == {"pass"}, [judge(trials) for judge in JUDGES]
    assert trials.by("ce").any()  # or there would have been nothing to compare


@pytest.mark.parametrize("shape", [slope, fragile])
def test_honest_landscapes_pass_all(shape: Callable[..., object]) -> None:
    trials = try_attacks(*landscape(against(shape)))  # type: ignore[arg-type]
    assert set(outcomes(trials).values()) == {"pass"}, [judge(trials) for judge in JUDGES]
    assert trials.by("ce").all()


@pytest.mark.parametrize(
    ("scores", "caught_by"),
    [
        (against(staircase), "more_steps_not_stronger"),
        (against(barrier), "one_step_not_stronger"),
        (decoy, "targets_agree"),
    ],
    ids=["staircase", "barrier", "decoy"],
)
def test_deceptive_landscapes_fail(scores: Scores, caught_by: str) -> None:
    model, samples = landscape(scores)
    found = outcomes(try_attacks(model, samples))
    assert found[caught_by] == "fail", found
    assert found["noise_harmless"] == "pass"
    ran = run_attack(PGD(steps=10), model, samples.x, samples.y, samples.threat, route="alone", seed=0)
    assert ran.robust_accuracy > 0.9  # what a report without these checks would say


def test_noise_beats_a_reversed_gradient() -> None:
    honest, samples = landscape(against(fragile))
    reversed_ = replace(honest, gradient=Bent(honest, lambda g: -g))
    assert outcomes(try_attacks(reversed_, samples))["noise_harmless"] == "fail"


def test_pruned_gradients_need_more_steps(exported: Bundle) -> None:
    """A backward pass that loses nine tenths of its values anew in each step: slow, and by steps alone undone."""
    engine, samples = first(exported, "fp32")
    rng = np.random.default_rng(0)
    pruned = replace(engine, gradient=Bent(engine, lambda g: g * (rng.random(g.shape) < 0.1).astype(np.float32)))
    far = replace(samples, threat=samples.threat.with_eps(24 / 255))
    assert outcomes(try_attacks(pruned, far))["more_steps_not_stronger"] == "fail"
    assert outcomes(try_attacks(engine, far))["more_steps_not_stronger"] == "pass"


def test_a_saturated_temperature_sets_the_losses_at_odds(exported: Bundle) -> None:
    engine, samples = first(exported, "fp32")
    far = replace(samples, threat=samples.threat.with_eps(8 / 255))
    cold = replace(engine, centers=replace(engine.centers, temperature=engine.centers.temperature / 1000))
    check = losses_agree(try_attacks(cold, far))
    assert check.status == "fail", check
    assert losses_agree(try_attacks(engine, far)).status == "pass"


def test_the_first_half_of_the_long_run_is_the_short_one(exported: Bundle) -> None:
    engine, samples = first(exported, "fp32")
    trials = try_attacks(engine, samples, steps=4)
    right = engine.centers.predict(engine.runner(samples.x)) == samples.y
    short = run_attack(
        PGD(steps=4), engine, samples.x[right], samples.y[right], samples.threat, route="short", seed=samples.seed
    )
    np.testing.assert_array_equal(trials.by("ce"), short.success)


def test_without_a_gradient_or_a_right_sample_all_are_skipped_and_say_why() -> None:
    model, samples = landscape(against(slope))
    blind = try_attacks(AttackedModel(model.runner, model.centers, place=model.place), samples)
    wrong = try_attacks(model, replace(samples, y=1 - samples.y))
    for trials, reason in ((blind, "no gradient"), (wrong, "no sample is right")):
        for judge in JUDGES:
            check = judge(trials)
            assert (check.status, check.required) == ("skipped", True)
            assert reason in check.why


def test_a_few_samples_are_no_evidence() -> None:
    """Honest engines differ on a sample or two by chance; of 32, that many must not decide."""
    nothing, two = np.zeros(32, np.bool_), np.arange(32) < 2
    names = ("twice the steps", "one step", "noise", "ce-scaled", "margin", "targeted")
    trials = Trials(10, dict.fromkeys(names, two) | {"ce": nothing})
    assert set(outcomes(trials).values()) == {"pass"}
    many = np.arange(32) < 12
    trials = Trials(10, dict.fromkeys(names, many) | {"ce": nothing})
    assert outcomes(trials) == {judge.__name__: "fail" for judge in JUDGES[:4]} | {"targets_agree": "pass"}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_is_as_large_as_the_ball_allows(norm: Norm) -> None:
    threat = ThreatModel(norm, EPS, SPEC.bounds)
    x = np.full((5, *SPEC.shape), 0.5, np.float32)
    for draw in range(DRAWS):
        noise = draw_noise(np.random.default_rng(draw), x.shape, threat, full=draw % 2 == 0)
        distance = threat.distance(x + noise, x)
        assert noise.dtype == np.float32
        assert (distance <= EPS * (1 + 1e-5)).all()
        assert (distance >= 0.9 * EPS).all()
        if norm == "linf" and draw % 2:
            assert np.abs(noise).mean() == pytest.approx(EPS / 2, rel=0.1)  # uniform: most values are smaller
