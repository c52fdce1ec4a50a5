"""Attacks after answers that are wrong and sure: PGD, APGD and Square with the loss `selective` find surer ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import THREAT, toy

from advcal_edge.attacks import APGD, PGD, Attack, AttackedModel, Square, TargetedAPGD, run_attack
from advcal_edge.attacks.base import never


def sureness(attack: Attack, model: AttackedModel, *, restless: bool) -> np.ndarray:
    """Margin (n,) of the wrong answer that an attack leads to; 0 where the answer stays right."""
    attacked, x, y = model, *toy(48)[1:]
    attacked = replace(model, criterion=never) if restless else model
    z = model.runner(run_attack(attack, attacked, x, y, THREAT, route="test", seed=0).x_adv)
    return np.where(model.centers.predict(z) != y, model.centers.margins(z), 0.0)


@pytest.mark.parametrize(
    ("aimed", "usual"),
    [
        (PGD(steps=20, loss="selective"), PGD(steps=20, loss="margin")),
        (APGD(steps=20, loss="selective"), APGD(steps=20, loss="margin")),
        (TargetedAPGD(steps=20, targets=3, loss="selective"), TargetedAPGD(steps=20, targets=3, loss="margin")),
        (Square(queries=150, loss="selective"), Square(queries=150, loss="margin")),
    ],
    ids=["PGD", "APGD", "targeted APGD", "Square"],
)
def test_wrong_answers_get_surer(aimed: Attack, usual: Attack) -> None:
    model = toy(48)[0]
    found, stopped = sureness(aimed, model, restless=True), sureness(usual, model, restless=False)
    further = sureness(usual, model, restless=True)
    assert found.mean() > 1.25 * stopped.mean() > 0  # who stops at the first wrong label leaves it less sure
    assert found.mean() > 1.1 * further.mean()  # and the usual loss does not make up for it by going on


@pytest.mark.parametrize(
    "attack", [PGD(steps=5, loss="selective"), APGD(5, loss="selective"), Square(30, loss="selective")]
)
def test_it_goes_to_the_end_on_every_sample(attack: Attack) -> None:
    model, x, y = toy(12)
    outcome = run_attack(attack, replace(model, criterion=never), x, y, THREAT, route="test", seed=0)
    assert len(set(outcome.queries.tolist())) == 1
    assert not outcome.success.any()
    assert (outcome.distance <= THREAT.eps * 1.0001).all()
