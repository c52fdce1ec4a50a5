"""Objectives against the same sums written out by hand, and their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.attacks import LOSSES
from advcal_edge.attacks.losses import INFO_NCE_TEMPERATURE
from advcal_edge.calibrate.config import ObjectiveConfig
from advcal_edge.calibrate.objectives import OBJECTIVES, Total, consistency
from advcal_edge.centers import Centers

N, DIM, CLASSES = 5, 4, 3


def unit(seed: int, n: int) -> Tensor:
    return F.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


Z, ANCHOR, Y = unit(0, N), unit(1, N), torch.tensor([0, 1, 2, 1, 0])
CENTERS = Centers(("a", "b", "c"), unit(2, CLASSES).float().numpy(), 0.2, "test")


def by_hand(kind: str, z: Tensor) -> float:
    """Loops over samples, as the formulas read."""
    rows, anchors, vectors = z.detach().numpy(), ANCHOR.numpy(), CENTERS.vectors.astype(np.float64)
    found = []
    for i in range(N):
        if kind == "l2":
            found.append(((rows[i] - anchors[i]) ** 2).sum())
            continue
        against, own = (vectors / 0.2, int(Y[i])) if kind == "ce" else (anchors / INFO_NCE_TEMPERATURE, i)
        scores = np.array([rows[i] @ row for row in against])
        found.append(np.log(np.exp(scores).sum()) - scores[own])
    return float(np.mean(found))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_formula(kind: str) -> None:
    assert OBJECTIVES[kind].loss(Z, ANCHOR, Y, CENTERS).item() == pytest.approx(by_hand(kind, Z), rel=1e-9)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_gradient(kind: str) -> None:
    z = Z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: OBJECTIVES[kind].loss(value, ANCHOR, Y, CENTERS), (z,))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_attack_raises_what_training_lowers(kind: str) -> None:
    """On the sphere the attack's gradient is n times the objective's, up to a positive factor."""
    z = Z.clone().requires_grad_()
    OBJECTIVES[kind].loss(z, ANCHOR, Y, CENTERS).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    _, slope = LOSSES[OBJECTIVES[kind].attack_loss](Z, Y, ANCHOR, CENTERS)
    radial = (z.grad * Z).sum(dim=-1, keepdim=True) * Z, (slope * Z).sum(dim=-1, keepdim=True) * Z
    torch.testing.assert_close(
        F.normalize(z.grad - radial[0], dim=-1), F.normalize(slope - radial[1], dim=-1), atol=1e-6, rtol=1e-6
    )


def test_consistency() -> None:
    rows, anchors = Z.numpy(), ANCHOR.numpy()
    pairs = [(rows[i] @ rows[j] - anchors[i] @ anchors[j]) ** 2 for i in range(N) for j in range(N) if i != j]
    assert consistency(Z, ANCHOR).item() == pytest.approx(np.mean(pairs))
    rotation = torch.linalg.qr(unit(3, DIM)).Q
    assert consistency(Z @ rotation, Z).item() == pytest.approx(0, abs=1e-12)  # the geometry is kept
    assert consistency(Z[:1], ANCHOR[:1]).item() == 0


@pytest.mark.parametrize("clean", [0.0, 0.5])
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_total(clean: float, weight: float) -> None:
    total = Total(ObjectiveConfig("l2", clean, weight), CENTERS)
    other = unit(4, N)
    found = total(lambda x: x, Z, other, ANCHOR, Y).item()
    l2 = OBJECTIVES["l2"].loss
    expected = l2(Z, ANCHOR, Y, CENTERS) + clean * l2(other, ANCHOR, Y, CENTERS) + weight * consistency(Z, ANCHOR)
    assert found == pytest.approx(expected.item())
