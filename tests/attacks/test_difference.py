"""An engine wrong while its reference stays right: who wins, the gradient, and what DIVA finds beyond cross-entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import SPEC, THREAT, ToyEncoder, centers, toy

from advcal_edge.attacks import PGD, AttackedModel, difference_model, run_attack
from advcal_edge.attacks.losses import LOSSES
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.errors import ConfigError


def rounded() -> AttackedModel:
    """The toy with its weights rounded to five bits."""
    torch.manual_seed(3)
    module = ToyEncoder().eval().requires_grad_(False)
    for weight in module.parameters():
        step = weight.abs().max() / 15
        weight.copy_((weight / step).round() * step)
    return TorchRunner(module, SPEC).attacked(centers())


def test_it_is_fooled_where_the_engine_is_wrong_and_the_reference_is_right() -> None:
    reference, x, _ = toy(500)
    engine, pair = rounded(), difference_model(rounded(), reference)
    z = pair.runner(x)
    ours, theirs = engine.centers.predict(engine.runner(x)), reference.centers.predict(reference.runner(x))
    assert (ours != theirs).any()
    for y in (ours, theirs, (theirs + 1) % 6):
        np.testing.assert_array_equal(pair.fooled(z, y), (ours != y) & (theirs == y))


def test_its_gradient_is_that_of_both() -> None:
    reference, x, y = toy(4)
    pair = difference_model(rounded(), reference)
    z, pullback = pair.white_box().vjp(x)
    _, slope = LOSSES["diva"](z, y, z, pair.centers)
    both = torch.tensor(x, requires_grad=True)
    modules = [rounded().runner.module, reference.runner.module]  # type: ignore[attr-defined]
    value, _ = LOSSES["diva"](torch.cat([m(both) for m in modules], dim=1), torch.tensor(y), None, pair.centers)
    (expected,) = torch.autograd.grad(value.sum(), both)
    np.testing.assert_allclose(pullback(slope), expected.numpy(), rtol=1e-3, atol=1e-5)


def test_diva_finds_differences_that_cross_entropy_on_the_engine_does_not() -> None:
    reference, x, y = toy(100)
    engine = rounded()
    pair = difference_model(engine, reference)
    diva = run_attack(PGD(steps=20, loss="diva"), pair, x, y, THREAT, route="t", seed=0)
    plain = run_attack(PGD(steps=20, select="last"), engine, x, y, THREAT, route="t", seed=0)
    found = np.asarray(pair.fooled(pair.runner(plain.x_adv), y))
    assert diva.success.mean() > found.mean() + 0.1


def test_a_black_box_has_no_gradient_and_other_centers_are_refused() -> None:
    reference, x, y = toy(4)
    blind = difference_model(replace(rounded(), gradient=None), reference)
    with pytest.raises(ConfigError, match="needs gradients"):
        run_attack(PGD(steps=2, loss="diva"), blind, x, y, THREAT, route="t", seed=0)
    with pytest.raises(ConfigError, match="different centers"):
        difference_model(rounded(), replace(reference, centers=centers(5)))
