"""Closed-form gradients against autograd, and numpy against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F
from toy import DIM, centers

from advcal_edge.attacks import LOSSES
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError


def embeddings(seed: int, n: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z, clean = rng.normal(size=(2, n, DIM))
    return z / np.linalg.norm(z, axis=1)[:, None], rng.integers(0, 6, n), clean / np.linalg.norm(clean, axis=1)[:, None]


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradient_equals_autograd(name: str, seed: int) -> None:
    z, y, clean = (torch.tensor(a) for a in embeddings(seed))
    z.requires_grad_(True)
    value, slope = LOSSES[name](z, y, clean, centers())
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-6, rtol=1e-5)


def several(softness: float) -> Centers:
    """Three centers for each of six classes."""
    vectors = np.random.default_rng(5).normal(size=(6, 3, DIM))
    unit = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return Centers(tuple("abcdef"), unit, 0.1, "test", softness)


@pytest.mark.parametrize("softness", [0.0, 0.5])
@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradient_equals_autograd_with_several_centers_a_class(name: str, softness: float, seed: int) -> None:
    z, y, clean = (torch.tensor(a) for a in embeddings(seed))
    z.requires_grad_(True)
    value, slope = LOSSES[name](z, y, clean, several(softness))
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_numpy_equals_torch(name: str) -> None:
    arrays = embeddings(0)
    ours = LOSSES[name](*arrays, centers())
    theirs = LOSSES[name](*(torch.tensor(a) for a in arrays), centers())
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-6)


def test_cross_entropy_is_torchs() -> None:
    z, y, clean = embeddings(1)
    value, _ = LOSSES["ce"](z, y, clean, centers())
    scores = torch.tensor(centers().scores(z))
    np.testing.assert_allclose(value, F.cross_entropy(scores, torch.tensor(y), reduction="none").numpy(), rtol=1e-5)


def test_margin_is_positive_exactly_where_the_label_is_wrong() -> None:
    z, y, clean = embeddings(2, n=200)
    value, _ = LOSSES["margin"](z, y, clean, centers())
    np.testing.assert_array_equal(value > 0, centers().predict(z) != y)


def test_dlr_ignores_the_scale_of_the_scores() -> None:
    z, y, clean = embeddings(3)
    one, _ = LOSSES["dlr"](z, y, clean, centers())
    ten, _ = LOSSES["dlr"](10 * z, y, clean, centers())
    np.testing.assert_allclose(one, ten, rtol=1e-5)


def test_dlr_refuses_two_classes() -> None:
    z, y, clean = embeddings(4)
    with pytest.raises(ConfigError, match="at least 3 classes; found 2"):
        LOSSES["dlr"](z, np.minimum(y, 1), clean, centers(2))
