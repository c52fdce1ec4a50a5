"""Outputs that are normalised on the way: their gradient is that of autograd through the normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from classifier import backward, forward, logits

from advcal_edge.runtime.model import open_runner, open_vjp
from advcal_edge.spec import image
from advcal_edge.verify.unit import UnitGradient, UnitRunner


@pytest.fixture
def model(tmp_path: Path) -> UnitGradient:
    """The classifier with logits of unit norm."""
    (tmp_path / "forward.onnx").write_bytes(forward())
    (tmp_path / "backward.onnx").write_bytes(backward())
    spec = image(4).input
    runner = UnitRunner(open_runner(tmp_path / "forward.onnx", spec))
    return UnitGradient(runner, open_vjp(tmp_path / "backward.onnx", spec))


def test_gradient_is_that_of_autograd(model: UnitGradient) -> None:
    torch = pytest.importorskip("torch")
    from torch_classifier import Logits, factory

    rng = np.random.default_rng(0)
    x, v = rng.random((70, 3, 4, 4), np.float32), rng.standard_normal((70, 4), np.float32)  # more than one run takes
    module = factory("image", None).module()
    assert isinstance(module, Logits)
    leaf = torch.from_numpy(x).requires_grad_(True)
    expected = torch.nn.functional.normalize(module(leaf), dim=1)
    (slope,) = torch.autograd.grad(expected, leaf, torch.from_numpy(v))
    z, pullback = model.vjp(x)
    assert np.allclose(z, expected.detach().numpy(), atol=1e-6)
    assert np.allclose(pullback(v), slope.numpy(), atol=1e-6)


def test_labels_are_those_of_the_logits_and_an_empty_batch_stays_empty(model: UnitGradient) -> None:
    x = np.random.default_rng(1).random((9, 3, 4, 4), np.float32)
    z = model.runner(x)
    assert np.allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)
    assert np.array_equal(z.argmax(axis=1), logits(x).argmax(axis=1))
    assert model.runner(x[:0]).shape == (0, 4)


def test_logits_that_are_all_zero_have_no_direction(model: UnitGradient) -> None:
    assert np.isnan(model.runner(np.full((1, 3, 4, 4), 0.5, np.float32))).all()
