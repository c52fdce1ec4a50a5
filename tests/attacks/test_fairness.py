"""No weaker than independent libraries on the same scores, samples, radius and budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from toy import CLASSES, SPEC, toy

from advcal_edge.attacks import APGD, PGD, Attack, AttackedModel, Square, run_attack
from advcal_edge.threat import ThreatModel

SAMPLES, TOLERANCE = 600, 0.005
LINF, L2 = ThreatModel("linf", 4 / 255, (0.0, 1.0)), ThreatModel("l2", 0.2, (0.0, 1.0))
NORMS = {"linf": np.inf, "l2": 2}

Make = Callable[[Any, ThreatModel], Any]
"""From a library's view of the attacked model and the ball to its attack."""


class Scores(nn.Module):
    """What libraries call a model."""

    def __init__(self, attacked: AttackedModel) -> None:
        super().__init__()
        self.attacked = attacked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.attacked.centers.scores(self.attacked.runner.module(x))  # type: ignore[attr-defined]
        return scores


def art_crafted(
    make: Make, attacked: AttackedModel, x: NDArray[Any], y: NDArray[Any], threat: ThreatModel
) -> NDArray[Any]:
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        Scores(attacked), nn.CrossEntropyLoss(), SPEC.shape, CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )
    x_adv: NDArray[Any] = make(model, threat).generate(x, np.eye(CLASSES, dtype=np.float32)[y])
    return x_adv


def foolbox_crafted(
    make: Make, attacked: AttackedModel, x: NDArray[Any], y: NDArray[Any], threat: ThreatModel
) -> NDArray[Any]:
    foolbox = pytest.importorskip("foolbox")
    model = foolbox.PyTorchModel(Scores(attacked).eval(), bounds=(0, 1), device="cpu")
    _, clipped, _ = make(model, threat)(model, torch.from_numpy(x), torch.from_numpy(y), epsilons=threat.radius)
    found: NDArray[Any] = clipped.numpy()
    return found


def art_pgd(model: Any, threat: ThreatModel) -> Any:
    from art.attacks.evasion import ProjectedGradientDescent

    return ProjectedGradientDescent(
        model, NORMS[threat.norm], eps=threat.radius, eps_step=threat.radius / 4, max_iter=10, num_random_init=1,
        batch_size=SAMPLES, verbose=False,
    )  # fmt: skip


def art_apgd(loss: str) -> Make:
    def make(model: Any, threat: ThreatModel) -> Any:
        from art.attacks.evasion import AutoProjectedGradientDescent

        return AutoProjectedGradientDescent(
            model, NORMS[threat.norm], eps=threat.radius, eps_step=2 * threat.radius, max_iter=20, nb_random_init=1,
            batch_size=SAMPLES, loss_type=loss, verbose=False,
        )  # fmt: skip

    return make


def art_square(model: Any, threat: ThreatModel) -> Any:
    from art.attacks.evasion import SquareAttack

    return SquareAttack(
        model, NORMS[threat.norm], eps=threat.radius, max_iter=200, nb_restarts=1, batch_size=SAMPLES, verbose=False
    )


def foolbox_pgd(model: Any, threat: ThreatModel) -> Any:
    import foolbox

    kind = foolbox.attacks.LinfPGD if threat.norm == "linf" else foolbox.attacks.L2PGD
    return kind(abs_stepsize=threat.radius / 4, steps=10, random_start=True)


CASES: list[tuple[str, ThreatModel, Attack, Callable[..., NDArray[Any]], Make]] = [
    ("PGD art", LINF, PGD(steps=10), art_crafted, art_pgd),
    ("PGD foolbox", LINF, PGD(steps=10), foolbox_crafted, foolbox_pgd),
    ("APGD ce art", LINF, APGD(steps=20), art_crafted, art_apgd("cross_entropy")),
    ("APGD dlr art", LINF, APGD(steps=20, loss="dlr"), art_crafted, art_apgd("difference_logits_ratio")),
    ("Square art", LINF, Square(queries=200), art_crafted, art_square),
    ("PGD art l2", L2, PGD(steps=10), art_crafted, art_pgd),
    ("PGD foolbox l2", L2, PGD(steps=10), foolbox_crafted, foolbox_pgd),
    ("APGD ce foolbox l2", L2, APGD(steps=10), foolbox_crafted, foolbox_pgd),
    ("APGD margin foolbox l2", L2, APGD(steps=10, loss="margin"), foolbox_crafted, foolbox_pgd),
    ("APGD ce art l2", L2, APGD(steps=20), art_crafted, art_apgd("cross_entropy")),
    ("APGD dlr art l2", L2, APGD(steps=20, loss="dlr"), art_crafted, art_apgd("difference_logits_ratio")),
]


SLOW = ("Square art", "APGD dlr art", "APGD dlr art l2", "APGD ce art l2")
"""Each takes ten seconds or more, most of it in the other library."""


def cases() -> list[Any]:
    return [pytest.param(*c[1:], id=c[0], marks=[pytest.mark.slow] * (c[0] in SLOW)) for c in CASES]


@pytest.mark.parametrize(("threat", "attack", "crafted", "make"), cases())
def test_no_weaker_than_an_independent_library(
    threat: ThreatModel, attack: Attack, crafted: Callable[..., NDArray[Any]], make: Make
) -> None:
    attacked, x, y = toy(SAMPLES)
    np.random.seed(0)  # noqa: NPY002 - libraries draw from the global streams
    torch.manual_seed(0)
    x_adv = crafted(make, attacked, x, y, threat).astype(np.float32)
    assert float(threat.distance(x_adv, x).max()) <= threat.eps * 1.001
    theirs = float((np.asarray(attacked.centers.predict(attacked.runner(x_adv))) == y).mean())
    ours = run_attack(attack, attacked, x, y, threat, route="t", seed=0).robust_accuracy
    assert 0.02 < theirs < 0.98  # else the comparison could not fail
    assert ours <= theirs + TOLERANCE, (ours, theirs)
