"""Closed-form gradients against autograd, and numpy against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F
from toy import DIM, centers

from advcal_edge.attacks import LOSSES
from advcal_edge.attacks.losses import Loss, own_first, targeted_dlr, targeted_margin, targeted_selective
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError

ALL: dict[str, Loss] = {
    **LOSSES,
    "targeted margin 1": targeted_margin(1),
    "targeted margin 5": targeted_margin(5),
    "targeted selective 1": targeted_selective(1),
    "targeted selective 5": targeted_selective(5),
    "targeted dlr 1": targeted_dlr(1),
    "targeted dlr 3": targeted_dlr(3),
}


def embeddings(seed: int, n: int = 5, halves: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z, clean = (np.concatenate([unit(rng, n) for _ in range(halves)], axis=1) for _ in range(2))
    return z, rng.integers(0, 6, n), clean


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    z = rng.normal(size=(n, DIM))
    return z / np.linalg.norm(z, axis=1)[:, None]


def given_to(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return embeddings(seed, halves=2 if name == "diva" else 1)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradient_equals_autograd(name: str, seed: int) -> None:
    z, y, clean = (torch.tensor(a) for a in given_to(name, seed))
    z.requires_grad_(True)
    value, slope = ALL[name](z, y, clean, centers())
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-6, rtol=1e-5)


def several(softness: float) -> Centers:
    """Three centers for each of six classes."""
    vectors = np.random.default_rng(5).normal(size=(6, 3, DIM))
    unit = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return Centers(tuple("abcdef"), unit, 0.1, "test", softness)


@pytest.mark.parametrize("softness", [0.0, 0.5])
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_gradient_equals_autograd_with_several_centers_a_class(name: str, softness: float, seed: int) -> None:
    z, y, clean = (torch.tensor(a) for a in given_to(name, seed))
    z.requires_grad_(True)
    value, slope = ALL[name](z, y, clean, several(softness))
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_numpy_equals_torch(name: str) -> None:
    arrays = given_to(name, 0)
    ours = ALL[name](*arrays, centers())
    theirs = ALL[name](*(torch.tensor(a) for a in arrays), centers())
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


def test_selective_is_the_lead_of_a_wrong_answer() -> None:
    z, y, clean = embeddings(2, n=200)
    value, _ = LOSSES["selective"](z, y, clean, centers())
    wrong = centers().predict(z) != y
    assert 20 < wrong.sum() < 200
    lead = centers().margins(z) / centers().temperature
    np.testing.assert_allclose(value, np.where(wrong, lead, LOSSES["margin"](z, y, clean, centers())[0]), atol=1e-9)
    best = np.max([targeted_selective(rank)(z, y, clean, centers())[0] for rank in range(1, 6)], axis=0)
    np.testing.assert_allclose(value, best, atol=1e-9)


def test_selective_raises_the_lead_where_margin_no_longer_does() -> None:
    """The true class is last here: to lower it further does not make the answer surer."""
    three = Centers(tuple("abc"), np.eye(3, dtype=np.float32), 1.0, "test")
    z, y = np.array([[0.6, 0.5, 0.1]]), np.array([2])
    np.testing.assert_array_equal(LOSSES["margin"](z, y, z, three)[1], [[1, 0, -1]])
    np.testing.assert_array_equal(LOSSES["selective"](z, y, z, three)[1], [[1, -1, 0]])


@pytest.mark.parametrize("name", ["selective", "targeted selective 1"])
def test_selective_agrees_with_finite_differences(name: str) -> None:
    z, y, clean = embeddings(8, n=6)
    step, slope = 1e-5, ALL[name](z, y, clean, centers())[1]
    for axis in range(DIM):
        there, back = (z + sign * step * np.eye(DIM)[axis] for sign in (1, -1))
        rise = ALL[name](there, y, clean, centers())[0] - ALL[name](back, y, clean, centers())[0]
        np.testing.assert_allclose(rise / (2 * step), slope[:, axis], rtol=1e-4, atol=1e-6)


def test_dlr_ignores_the_scale_of_the_scores() -> None:
    z, y, clean = embeddings(3)
    one, _ = LOSSES["dlr"](z, y, clean, centers())
    ten, _ = LOSSES["dlr"](10 * z, y, clean, centers())
    np.testing.assert_allclose(one, ten, rtol=1e-5)


@pytest.mark.parametrize("name", ["ce-scaled", "diva"])
def test_two_classes_still_have_a_slope(name: str) -> None:
    two = centers(2)
    z, y, clean = embeddings(0, n=40)
    pairs = np.concatenate([z, clean], axis=1) if name == "diva" else z
    leaf = torch.tensor(pairs, requires_grad=True)
    value, slope = LOSSES[name](leaf, torch.tensor(y % 2), torch.tensor(clean), two)
    (expected,) = torch.autograd.grad(value.sum(), leaf)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-6, rtol=1e-5)
    assert float(slope.detach().abs().amax(dim=1).min()) > 1e-3
    assert len(np.unique(np.round(value.detach().numpy(), 6))) == 40


def test_dlr_refuses_two_classes() -> None:
    z, y, clean = embeddings(4)
    with pytest.raises(ConfigError, match="at least 3 classes; found 2"):
        LOSSES["dlr"](z, np.minimum(y, 1), clean, centers(2))


def test_targeted_dlr_refuses_three_classes() -> None:
    z, y, clean = embeddings(4)
    with pytest.raises(ConfigError, match="at least 4 classes; found 3"):
        targeted_dlr(1)(z, np.minimum(y, 2), clean, centers(3))


def test_there_are_no_more_targets_than_wrong_classes() -> None:
    z, y, clean = embeddings(4)
    targeted_margin(1)(z, np.minimum(y, 1), clean, centers(2))
    with pytest.raises(ConfigError, match="wrong class number 2 among 2"):
        targeted_margin(2)(z, np.minimum(y, 1), clean, centers(2))


def test_targets_are_the_wrong_classes_of_the_clean_embedding_in_order() -> None:
    z, y, clean = embeddings(6, n=50)
    before, now = centers().scores(clean), centers().scores(z)
    for i in range(50):
        wrong = [k for k in np.argsort(-before[i]) if k != y[i]]
        for rank in range(1, 6):
            value, _ = targeted_margin(rank)(z, y, clean, centers())
            assert value[i] == pytest.approx(now[i, wrong[rank - 1]] - now[i, y[i]])


@pytest.mark.parametrize("temperature", [1e-3, 0.01, 1.0])
def test_scaled_cross_entropy_never_saturates(temperature: float) -> None:
    sharp = Centers(centers().labels, centers().vectors, temperature, "test")
    z, y, clean = embeddings(7, n=200)
    y = sharp.predict(z)  # where a sharp softmax is certain and its gradient is gone
    z, clean = z.astype(np.float32), clean.astype(np.float32)
    _, slope = LOSSES["ce-scaled"](z, y, clean, sharp)
    reference, _ = LOSSES["ce-scaled"](z, y, clean, centers())
    value, _ = LOSSES["ce-scaled"](z, y, clean, sharp)
    np.testing.assert_allclose(value, reference, rtol=1e-4)
    assert (np.abs(slope).max(axis=1) > 1e-5).all()
    if temperature == 1e-3:
        assert (np.abs(LOSSES["ce"](z, y, clean, sharp)[1]).max(axis=1) == 0).any()


def test_crossmaxim_is_the_mean_gap_to_the_others() -> None:
    z, y, clean = embeddings(8, n=50)
    scores = centers().scores(z)
    value, _ = LOSSES["crossmaxim"](z, y, clean, centers())
    for i in range(50):
        assert value[i] == pytest.approx(np.delete(scores[i], y[i]).mean() - scores[i, y[i]])


def test_diva_is_the_difference_of_two_probabilities() -> None:
    z, y, clean = embeddings(9, n=50, halves=2)
    value, _ = LOSSES["diva"](z, y, clean, centers())
    swapped, _ = LOSSES["diva"](np.concatenate([z[:, DIM:], z[:, :DIM]], axis=1), y, clean, centers())
    np.testing.assert_allclose(value, -swapped)
    assert (np.abs(value) <= 1).all()
    with pytest.raises(ConfigError, match=f"{2 * DIM} wide; found {DIM}"):
        LOSSES["diva"](z[:, :DIM], y, clean, centers())


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_some_samples_are_those_of_all(name: str) -> None:
    z, y, clean = given_to(name, 10)
    value, slope = LOSSES[name](z, y, clean, centers())
    keep = np.array([False, True, True, False, True])
    few, few_slope = LOSSES[name](z[keep], y[keep], own_first(clean, keep), centers())
    np.testing.assert_allclose(few, value[keep])
    np.testing.assert_allclose(few_slope, slope[keep], atol=1e-12)
