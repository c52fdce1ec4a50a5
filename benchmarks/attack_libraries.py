"""The attacks of other libraries behind one signature, for `benchmarks/attacks.py` and `attack_optimality.py`.

Each takes a module from x (n, c, h, w) in [0, 1] to scores, x, y and the radius, and returns x_adv for one batch. The
seed is that of torch's global stream: what the caller gave to `torch.manual_seed`. AutoAttack and adv-lib are in
`attack_originals.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Craft = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
DISTRIBUTIONS = {
    "autoattack": "pyautoattack",
    "adv-lib": "adv-lib",
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "art": "adversarial-robustness-toolbox",
}
MODULES = {"autoattack": "pyautoattack", "adv-lib": "adv_lib"}
INSTALL = {
    "autoattack": "pip install --no-deps pyautoattack",
    "adv-lib": "pip install --no-deps adv-lib",  # it declares torchvision and visdom, see `attack_originals.adv_lib`
    "torchattacks": "pip install --no-deps torchattacks",  # it declares torchvision and an old requests, unused
    "foolbox": "pip install foolbox",
    "art": "pip install adversarial-robustness-toolbox",
}


def load(library: str) -> str | None:
    """The installed version, or None where the library cannot be imported."""
    try:
        importlib.import_module(MODULES.get(library, library))
    except ImportError:
        return None
    return version(DISTRIBUTIONS[library])


def torchattacks_pgd(steps: int, step: float, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import torchattacks

        kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
        return kind(scores, eps=radius, alpha=step * radius, steps=steps)(x, y)

    return craft


def torchattacks_apgd(steps: int, loss: str, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import torchattacks

        seed = torch.initial_seed()
        return torchattacks.APGD(scores, norm=NAMES[norm], eps=radius, steps=steps, loss=loss, seed=seed)(x, y)

    return craft


def torchattacks_targeted(steps: int, targets: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import torchattacks

        seed = torch.initial_seed()
        attack = torchattacks.APGDT(scores, norm=NAMES[norm], eps=radius, steps=steps, n_classes=targets + 1, seed=seed)
        return attack(x, y)

    return craft


def torchattacks_square(queries: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import torchattacks

        seed = torch.initial_seed()
        return torchattacks.Square(scores, norm=NAMES[norm], eps=radius, n_queries=queries, seed=seed)(x, y)

    return craft


def torchattacks_autoattack(classes: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import torchattacks

        attack = torchattacks.AutoAttack(
            scores, norm=NAMES[norm], eps=radius, version="standard", n_classes=classes, seed=0
        )
        return attack(x, y)

    return craft


def foolbox_pgd(steps: int, step: float, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        import foolbox

        kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
        attack = kind(abs_stepsize=step * radius, steps=steps, random_start=True)
        model = foolbox.PyTorchModel(scores, bounds=(0, 1), device=x.device)
        _, clipped, _ = attack(model, x, y, epsilons=radius)
        return clipped

    return craft


def art_pgd(steps: int, step: float, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from art.attacks.evasion import ProjectedGradientDescent

        return art_crafted(
            lambda model: ProjectedGradientDescent(
                model, NORMS[norm], eps=radius, eps_step=step * radius, max_iter=steps, num_random_init=1,
                batch_size=len(x), verbose=False,
            ),
            scores, x, y,
        )  # fmt: skip

    return craft


def art_apgd(steps: int, loss: str, norm: str) -> Craft:
    kind = {"ce": "cross_entropy", "dlr": "difference_logits_ratio"}[loss]

    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from art.attacks.evasion import AutoProjectedGradientDescent

        return art_crafted(
            lambda model: AutoProjectedGradientDescent(
                model, NORMS[norm], eps=radius, eps_step=2 * radius, max_iter=steps, nb_random_init=1,
                batch_size=len(x), loss_type=kind, verbose=False,
            ),
            scores, x, y,
        )  # fmt: skip

    return craft


def art_square(queries: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from art.attacks.evasion import SquareAttack

        return art_crafted(
            lambda model: SquareAttack(
                model, NORMS[norm], eps=radius, max_iter=queries, nb_restarts=1, batch_size=len(x), verbose=False
            ),
            scores, x, y,
        )  # fmt: skip

    return craft


def art_crafted(make: Callable[[Any], Any], scores: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """x_adv of an ART attack, which wants a classifier of its own and numpy arrays."""
    from art.estimators.classification import PyTorchClassifier

    classes = int(scores(x[:1]).shape[1])
    classifier = PyTorchClassifier(
        scores, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0.0, 1.0), device_type="cpu"
    )
    x_adv = make(classifier).generate(x.numpy(), np.eye(classes, dtype=np.float32)[y.numpy()])
    return torch.from_numpy(np.asarray(x_adv, dtype=np.float32))


NAMES: Mapping[str, str] = {"linf": "Linf", "l2": "L2"}
NORMS: Mapping[str, float] = {"linf": float("inf"), "l2": 2}
