"""A randomised engine and an attacker who averages over its randomness; crafting on one system for another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import SPEC, THREAT, ToyEncoder, centers, toy

from advcal_edge.attacks import PGD, AttackedModel, Transfer, expected_model, run_attack
from advcal_edge.attacks.base import to_numpy
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.errors import ConfigError
from advcal_edge.model import Pullback
from advcal_edge.threat import Array


class Noisy:
    """The toy behind Gaussian noise on its input, drawn anew at every call."""

    def __init__(self, model: AttackedModel, deviation: float = 0.1) -> None:
        self.inner, self.deviation, self.rng = model, deviation, np.random.default_rng(0)
        self.spec, self.fingerprint, self.calls = SPEC, "noisy", 0

    def attacked(self) -> AttackedModel:
        return replace(self.inner, runner=self, gradient=self)

    def __call__(self, x: Array) -> Array:
        return self.inner.runner(self._disturbed(x))

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        return self.inner.white_box().vjp(self._disturbed(x))

    def _disturbed(self, x: Array) -> Array:
        self.calls += 1
        return x + self.inner.place(self.rng.normal(0, self.deviation, x.shape).astype(np.float32))


def test_it_is_the_mean_of_embeddings_and_of_pullbacks() -> None:
    model, x, _ = toy(5)
    v = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    one, many = Noisy(model), Noisy(model)
    singles = [one.vjp(model.place(x)) for _ in range(4)]
    z, pullback = expected_model(many.attacked(), 4).white_box().vjp(model.place(x))
    np.testing.assert_allclose(z, np.mean([to_numpy(s) for s, _ in singles], axis=0), rtol=1e-5, atol=1e-6)
    for _ in range(2):  # the same calls are pulled back every time
        pulled = np.mean([to_numpy(p(model.place(v))) for _, p in singles], axis=0)
        np.testing.assert_allclose(pullback(model.place(v)), pulled, rtol=1e-4, atol=1e-6)
    assert many.calls == 4
    assert expected_model(many.attacked(), 3).runner(model.place(x)).shape == (5, 16)
    assert many.calls == 7


def test_averaging_finds_what_single_calls_do_not() -> None:
    model, x, y = toy(150)
    errors = {}
    for calls in (1, 20):
        engine = Noisy(model, 0.3).attacked()
        attack = Transfer(expected_model(engine, calls), PGD(steps=10, select="last"))
        found = run_attack(attack, model, x, y, THREAT, route="t", seed=0)
        errors[calls] = found.success.mean()
    assert errors[20] > errors[1] + 0.03


def test_no_calls_no_expectation() -> None:
    model, _, _ = toy(1)
    with pytest.raises(ConfigError, match="at least one call; found 0"):
        expected_model(model, 0)
    assert expected_model(replace(model, gradient=None), 2).gradient is None


def test_transfer_is_what_the_surrogate_was_attacked_with() -> None:
    model, x, y = toy(60)
    torch.manual_seed(4)
    surrogate = TorchRunner(ToyEncoder().eval().requires_grad_(False), SPEC).attacked(centers())
    blind = replace(model, gradient=None, place=np.asarray)
    crafted = run_attack(PGD(steps=5, select="last"), surrogate, x, y, THREAT, route="t", seed=0)
    moved = run_attack(Transfer(surrogate, PGD(steps=5, select="last")), blind, x, y, THREAT, route="t", seed=0)
    np.testing.assert_array_equal(moved.x_adv, crafted.x_adv)
    np.testing.assert_array_equal(moved.success, to_numpy(model.centers.predict(model.runner(crafted.x_adv))) != y)
    np.testing.assert_array_equal(moved.queries, crafted.queries)
    assert moved.attack == f"Transfer(attack={PGD(steps=5, select='last')!r})"


def test_the_strongest_iterates_transfer_better_than_the_first() -> None:
    model, x, y = toy(300)
    torch.manual_seed(3)
    module = ToyEncoder().eval().requires_grad_(False)
    for weight in module.parameters():
        step = weight.abs().max() / 7
        weight.copy_((weight / step).round() * step)
    engine, threat = TorchRunner(module, SPEC).attacked(centers()), THREAT.with_eps(3 / 255)
    found = {}
    for select in ("best", "strongest"):
        attack = Transfer(model, PGD(steps=10, select=select))  # type: ignore[arg-type]
        found[select] = run_attack(attack, engine, x, y, threat, route="t", seed=0).success.mean()
    assert found["strongest"] > found["best"] + 0.05
