"""AutoAttack's own attacks, and adv-lib's version of them, with the signature of `attack_libraries.py`.

The authors of AutoAttack keep it on GitHub only. `pyautoattack` packages that code; it differs in imports, in white
space and in how warnings are logged.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

import torch
from attack_libraries import NAMES, NORMS, Craft
from torch import Tensor, nn


def autoattack_apgd(steps: int, loss: str, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from pyautoattack.autopgd_base import APGDAttack

        attack = APGDAttack(scores, n_iter=steps, norm=NAMES[norm], eps=radius, loss=loss, seed=torch.initial_seed())
        return attack.perturb(x, y)

    return craft


def autoattack_targeted(steps: int, targets: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from pyautoattack.autopgd_base import APGDAttack_targeted

        attack = APGDAttack_targeted(
            scores, n_iter=steps, norm=NAMES[norm], eps=radius, n_target_classes=targets, seed=torch.initial_seed()
        )
        return attack.perturb(x, y)

    return craft


def autoattack_square(queries: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        from pyautoattack.square import SquareAttack

        seed = torch.initial_seed()
        return SquareAttack(scores, norm=NAMES[norm], eps=radius, n_queries=queries, seed=seed).perturb(x, y)

    return craft


def adv_lib(name: str) -> ModuleType:
    """The module `adv_lib.attacks.NAME`, without what the package imports beside it and its attacks do not call.

    Its `attacks` import all attacks, and so torchvision; its PGD imports a plotter, and so visdom, for an annotation.
    """
    root = find_spec("adv_lib")
    if root is None or not root.submodule_search_locations:
        raise ImportError("adv_lib is not installed")
    if "adv_lib.attacks" not in sys.modules:
        package, plotter = ModuleType("adv_lib.attacks"), ModuleType("adv_lib.utils.visdom_logger")
        package.__path__ = [f"{folder}/attacks" for folder in root.submodule_search_locations]
        plotter.VisdomLogger = object  # type: ignore[attr-defined]
        sys.modules |= {module.__name__: module for module in (package, plotter)}
    return importlib.import_module(f"adv_lib.attacks.{name}")


def advlib_pgd(steps: int, step: float) -> Craft:
    """In linf; it has none in l2."""

    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        attack = adv_lib("projected_gradient_descent").pgd_linf
        return attack(scores, x, y, radius, steps=steps, relative_step_size=step)

    return craft


def advlib_apgd(steps: int, loss: str, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        attack = adv_lib("auto_pgd").apgd
        return attack(scores, x, y, radius, norm=NORMS[norm], n_iter=steps, loss_function=loss)

    return craft


def advlib_targeted(steps: int, targets: int, norm: str) -> Craft:
    def craft(scores: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
        attack = adv_lib("auto_pgd").apgd_targeted
        return attack(scores, x, y, radius, norm=NORMS[norm], n_iter=steps, num_targets=targets)

    return craft
