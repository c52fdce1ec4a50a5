"""The torch runner: numpy in, numpy out; exact gradients of the input and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_encoder import DIM, Small, make_centers

from advcal_edge.attacks import APGD, PGD, Square, run_attack
from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.spec import thermal
from advcal_edge.threat import ThreatModel

RUNNER = TorchRunner(AdaptedModule(Small.load("thermal").module()), thermal(8).input)
X = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)


def test_numpy_and_tensors_agree() -> None:
    z = RUNNER(X)
    assert isinstance(z, np.ndarray)
    assert z.shape == (4, DIM)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    assert torch.equal(RUNNER(RUNNER.place(X)), torch.from_numpy(z))


def test_gradient_matches_finite_differences() -> None:
    v = np.random.default_rng(1).standard_normal((4, DIM)).astype(np.float32)
    z, pullback = RUNNER.vjp(X)
    np.testing.assert_allclose(z, RUNNER(X), atol=1e-6)  # torch has a faster attention where nothing is differentiated
    direction = np.random.default_rng(2).standard_normal(X.shape).astype(np.float32)
    step = 1e-3
    numeric = ((RUNNER(X + step * direction) - RUNNER(X - step * direction)) / (2 * step) * v).sum(axis=1)
    slope = pullback(v)
    assert isinstance(slope, np.ndarray)
    np.testing.assert_allclose((slope * direction).sum(axis=(1, 2, 3)), numeric, rtol=0.02, atol=0.02)
    np.testing.assert_array_equal(pullback(v), slope)


def test_only_the_input_has_a_gradient() -> None:
    x = RUNNER.place(X)
    _, pullback = RUNNER.vjp(x)
    pullback(torch.ones(4, DIM))
    assert x.grad is None
    assert all(value.grad is None for value in RUNNER.module.parameters())


def test_read_only_input_and_fresh_output() -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    first = RUNNER(fixed)
    first[:] = 0
    assert RUNNER(fixed).any()


def test_fingerprint_follows_the_weights() -> None:
    other = AdaptedModule(Small.load("thermal").module())
    assert TorchRunner(other, RUNNER.spec).fingerprint == RUNNER.fingerprint
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert TorchRunner(other, RUNNER.spec).fingerprint != RUNNER.fingerprint


@pytest.mark.parametrize("attack", [PGD(steps=3), APGD(steps=3), Square(queries=5)], ids=str)
def test_it_can_be_attacked(attack: PGD | APGD | Square) -> None:
    threat = ThreatModel("linf", 0.1, (0.0, 1.0))
    outcome = run_attack(attack, RUNNER.attacked(make_centers()), X, np.zeros(4, np.int64), threat, route="t", seed=0)
    assert outcome.distance.max() <= 0.1 + 1e-6


def test_no_inputs_give_no_embeddings_and_no_gradients() -> None:
    z, pullback = RUNNER.vjp(X[:0])
    assert RUNNER(X[:0]).shape == z.shape == (0, DIM)
    assert pullback(z).shape == (0, *X.shape[1:])
