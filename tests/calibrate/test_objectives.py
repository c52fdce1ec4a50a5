"""Objectives against the same sums written out by hand, and their gradients against finite differences."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.attacks import LOSSES
from advcal_edge.attacks.losses import INFO_NCE_TEMPERATURE
from advcal_edge.calibrate.config import ObjectiveConfig, ObjectiveKind
from advcal_edge.calibrate.objectives import OBJECTIVES, Targets, Total, attack_loss, consistency
from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError

N, DIM, CLASSES = 5, 4, 3


def unit(seed: int, n: int) -> Tensor:
    return F.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


Z, ANCHOR, Y = unit(0, N), unit(1, N), torch.tensor([0, 1, 2, 1, 0])
CENTERS = Centers(("a", "b", "c"), unit(2, CLASSES).float().numpy(), 0.2, "test")


PARTNER = unit(5, N)
TARGETS = Targets(Y, ANCHOR, CENTERS, PARTNER)
RAISED_EXACTLY = ("ce", "l2", "infonce")
"""Terms whose attack climbs the very loss that training lowers; the others are attacked by distance to the anchor."""


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(scores)
    return weights / weights.sum()


def by_hand(kind: str, z: Tensor) -> float:
    """Loops over samples, as the formulas read."""
    rows, anchors, vectors = z.detach().numpy(), ANCHOR.numpy(), CENTERS.vectors.astype(np.float64)
    if kind == "consistency":
        pairs = [(rows[i] @ rows[j] - anchors[i] @ anchors[j]) ** 2 for i in range(N) for j in range(N) if i != j]
        return float(np.mean(pairs))
    found = []
    for i in range(N):
        if kind == "l2":
            found.append(((rows[i] - anchors[i]) ** 2).sum())
            continue
        if kind == "soft":
            q, p = (softmax(vectors @ row / 0.2) for row in (rows[i], anchors[i]))
            found.append((p * np.log(p / q)).sum())
            continue
        candidates = {"infonce": anchors, "partner": PARTNER.numpy()}.get(kind, vectors)
        temperature, own = (0.2, int(Y[i])) if kind == "ce" else (INFO_NCE_TEMPERATURE, i)
        scores = candidates @ rows[i] / temperature
        found.append(np.log(np.exp(scores).sum()) - scores[own])
    return float(np.mean(found))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_formula(kind: str) -> None:
    assert OBJECTIVES[kind].loss(Z, TARGETS).item() == pytest.approx(by_hand(kind, Z), rel=1e-9)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_gradient(kind: str) -> None:
    z = Z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: OBJECTIVES[kind].loss(value, TARGETS), (z,))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_attack_raises_what_training_lowers(kind: str) -> None:
    """On the sphere the attack's gradient is n times the objective's, up to a positive factor."""
    z = Z.clone().requires_grad_()
    OBJECTIVES[kind].loss(z, TARGETS).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    _, slope = LOSSES[OBJECTIVES[kind].attack_loss](Z, Y, ANCHOR, CENTERS)
    if kind not in RAISED_EXACTLY:
        assert OBJECTIVES[kind].attack_loss == "push"  # away from the anchor, at which each of these is lowest
        return
    radial = (z.grad * Z).sum(dim=-1, keepdim=True) * Z, (slope * Z).sum(dim=-1, keepdim=True) * Z
    torch.testing.assert_close(
        F.normalize(z.grad - radial[0], dim=-1), F.normalize(slope - radial[1], dim=-1), atol=1e-6, rtol=1e-6
    )


def test_consistency_is_of_the_geometry_alone() -> None:
    rotation = torch.linalg.qr(unit(3, DIM)).Q
    assert consistency(Z @ rotation, Targets(Y, Z, CENTERS)).item() == pytest.approx(0, abs=1e-12)
    assert consistency(Z[:1], Targets(Y[:1], ANCHOR[:1], CENTERS)).item() == 0


def test_soft_labels_are_best_at_the_anchor() -> None:
    assert OBJECTIVES["soft"].loss(ANCHOR, TARGETS).item() == pytest.approx(0, abs=1e-12)


def test_partners_that_are_missing_are_named() -> None:
    with pytest.raises(ConfigError, match="samples with a partner"):
        OBJECTIVES["partner"].loss(Z, Targets(Y, ANCHOR, CENTERS))


@pytest.mark.parametrize("clean", ["none", "half", "0.5 ce + 3 l2"])
@pytest.mark.parametrize("attacked", ["l2", "2 ce + 0.5 consistency"])
def test_total(attacked: str, clean: str) -> None:
    config = ObjectiveConfig(attacked, clean)
    other = unit(4, N)
    total = Total(config, CENTERS)
    found = total.loss(total.embed(lambda x: x, Z, other), TARGETS).item()
    expected = sum(weight * by_hand(term, Z) for term, weight in config.attacked_terms.items())
    expected += sum(weight * by_hand(term, other) for term, weight in config.clean_terms.items())
    assert found == pytest.approx(expected)


def test_terms_are_read() -> None:
    config = ObjectiveConfig("ce + 5 l2", "half")
    assert config.attacked_terms == {"ce": 1, "l2": 5}
    assert config.clean_terms == {"ce": 0.5, "l2": 2.5}
    assert ObjectiveConfig("2*l2+.5 ce".replace("+.5", "+0.5"), "none").terms == {"l2", "ce"}
    assert attack_loss(ObjectiveConfig("l2 + ce")) == "push"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no term"),
        ("ce +", "has no term"),
        ("ce + 5", "has no term"),
        ("ce + ce", "repeats `ce`"),
        ("0 ce", "expected a value in"),
        ("-1 ce", "has no term"),
        ("mse", "unknown objective `mse`"),
        ("none", "is empty"),
    ],
)
def test_what_is_no_objective_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ObjectiveConfig(text)


def test_the_settings_know_every_term() -> None:
    assert set(get_args(ObjectiveKind)) == set(OBJECTIVES)
