"""Attacks stay in the ball, find what an independent library finds, and give the same on numpy and torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from toy import SPEC, THREAT, centers, toy

from advcal_edge.attacks import APGD, PGD, Attack, AttackedModel, RayS, Square, TargetedAPGD, run_attack
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.model import Pullback
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel

RANDOM: list[Attack] = [
    PGD(steps=5),
    PGD(steps=5, loss="ce-scaled", select="strongest"),
    PGD(steps=5, restarts=2, loss="crossmaxim"),
    PGD(steps=5, restarts=2, momentum=0.5, loss="margin"),
    PGD(steps=3, loss="push"),
    PGD(steps=3, loss="infonce", select="last"),
    APGD(steps=8),
    APGD(steps=8, restarts=2, loss="dlr"),
    TargetedAPGD(steps=4, targets=3),
    TargetedAPGD(steps=4, targets=2, loss="margin", restarts=2),
    Square(queries=30),
]
ATTACKS: list[Attack] = [*RANDOM, RayS(queries=60)]
L2 = ThreatModel("l2", 0.3, (0.0, 1.0))


@pytest.mark.parametrize("threat", [THREAT, L2], ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_stays_in_the_ball_and_judges_honestly(attack: Attack, threat: ThreatModel) -> None:
    model, x, y = toy()
    outcome = run_attack(attack, model, x, y, threat, route="test", seed=0, batch=20)
    assert float(outcome.distance.max()) <= threat.eps * (1 + 1e-5)
    assert outcome.success.any()
    assert outcome.x_adv.min() >= 0
    assert outcome.x_adv.max() <= 1
    assert outcome.x_adv.dtype == np.float32
    np.testing.assert_array_equal(outcome.success, np.asarray(model.centers.predict(model.runner(outcome.x_adv))) != y)
    assert (outcome.queries > 0).all()


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_same_seed_same_result(attack: Attack) -> None:
    model, x, y = toy(16)
    first, second, other = (run_attack(attack, model, x, y, THREAT, route="t", seed=s).x_adv for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.array_equal(first, other) == (attack not in RANDOM)


class Scaled(nn.Module):
    """The same encoder for x in [-16, 12]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x + 16) / 28)


@pytest.mark.parametrize("threat", [THREAT, L2], ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_other_bounds_are_only_other_units(attack: Attack, threat: ThreatModel) -> None:
    model, x, y = toy(40)
    bounds = (-16.0, 12.0)
    spec = replace(SPEC, bounds=bounds)
    decibels = TorchRunner(Scaled(model.runner.module), spec).attacked(model.centers)  # type: ignore[attr-defined]
    wide = ThreatModel(threat.norm, threat.eps, bounds)
    usual = run_attack(attack, model, x, y, threat, route="t", seed=0)
    outcome = run_attack(attack, decibels, x * 28 - 16, y, wide, route="t", seed=0)
    assert float(outcome.distance.max()) <= threat.eps * (1 + 1e-5)
    assert outcome.x_adv.min() >= -16
    assert outcome.x_adv.max() <= 12
    assert (usual.success == outcome.success).mean() >= 0.95


def test_black_boxes_refuse_gradients() -> None:
    model, x, y = toy(4)
    blind = AttackedModel(model.runner, model.centers, None, model.place)
    with pytest.raises(ConfigError, match="needs gradients"):
        run_attack(PGD(2), blind, x, y, THREAT, route="t", seed=0)


class NumpyToy:
    """The toy's torch module behind numpy arrays, as an engine would be."""

    def __init__(self, model: AttackedModel) -> None:
        self.inner: Any = model.runner

    spec: TensorSpec = SPEC
    fingerprint = "numpy toy"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.inner(x))

    def vjp(self, x: NDArray[Any]) -> tuple[NDArray[Any], Pullback]:
        z, pullback = self.inner.vjp(x)
        return np.asarray(z), lambda v: np.asarray(pullback(v))


@pytest.mark.parametrize("threat", [THREAT, L2], ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_numpy_arrays_give_what_torch_gives(attack: Attack, threat: ThreatModel) -> None:
    model, x, y = toy(24)
    wrapped = NumpyToy(model)
    on_torch = run_attack(attack, model, x, y, threat, route="t", seed=0)
    on_numpy = run_attack(attack, AttackedModel(wrapped, model.centers, wrapped), x, y, threat, route="t", seed=0)
    assert (on_torch.success == on_numpy.success).mean() > 0.95


def test_more_steps_and_restarts_never_hurt_much() -> None:
    model, x, y = toy(200)
    few, many = (run_attack(PGD(s), model, x, y, THREAT, route="t", seed=0).robust_accuracy for s in (2, 40))
    assert many <= few


def test_huge_eps_leaves_nothing() -> None:
    model, x, y = toy(32)
    outcome = run_attack(PGD(20, step=0.2), model, x, y, THREAT.with_eps(1.0), route="t", seed=0)
    assert outcome.robust_accuracy == 0.0


@pytest.mark.parametrize("threat", [THREAT, L2], ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_no_samples_no_outcome(attack: Attack, threat: ThreatModel) -> None:
    model, x, y = toy(2)
    outcome = run_attack(attack, model, x[:0], y[:0], threat, route="t", seed=0)
    assert len(outcome.success) == len(outcome.distance) == 0


def test_eps_zero_changes_nothing() -> None:
    model, x, y = toy(16)
    for attack in ATTACKS:
        outcome = run_attack(attack, model, x, y, THREAT.with_eps(0.0), route="t", seed=0)
        np.testing.assert_array_equal(outcome.x_adv, x)


def test_centers_of_the_toy_are_all_used() -> None:
    model, _, y = toy(400)
    assert len(np.unique(y)) == len(centers().labels) == model.centers.vectors.shape[0]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_no_samples_make_an_empty_outcome(attack: Attack) -> None:
    model, x, y = toy(4)
    proposal = attack.propose(model, model.place(x[:0]), model.place(y[:0]), THREAT, np.random.default_rng(0))
    assert tuple(proposal.x.shape) == (0, *SPEC.shape)
    outcome = run_attack(attack, model, x[:0], y[:0], THREAT, route="test", seed=0)
    assert outcome.x_adv.shape == (0, *SPEC.shape)
    assert [len(values) for values in (outcome.success, outcome.distance, outcome.queries)] == [0, 0, 0]
    with pytest.raises(InputError, match="no sample was attacked"):
        _ = outcome.robust_accuracy
