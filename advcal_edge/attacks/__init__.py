"""Attacks, written once against the array API, so that they run on numpy, torch and CUDA arrays."""

from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

from advcal_edge.attacks.apgd import APGD, TargetedAPGD
from advcal_edge.attacks.base import (
    ATTACK_BATCH,
    PLANS,
    Attack,
    AttackedModel,
    AttackOutcome,
    AttackPlan,
    Proposal,
    Route,
    planned,
    run_attack,
)
from advcal_edge.attacks.losses import LOSSES
from advcal_edge.attacks.pgd import PGD
from advcal_edge.attacks.rays import RayS
from advcal_edge.attacks.square import Square
from advcal_edge.attacks.wrappers import Transfer, difference_model, expected_model

__all__ = [
    "APGD",
    "ATTACK_BATCH",
    "LOSSES",
    "PGD",
    "Attack",
    "AttackOutcome",
    "AttackPlan",
    "AttackedModel",
    "Proposal",
    "RayS",
    "Route",
    "Square",
    "TargetedAPGD",
    "Transfer",
    "difference_model",
    "expected_model",
    "planned",
    "plans",
    "run_attack",
]


def plans(route: Route | None = None) -> list[AttackPlan]:
    """All registered uses of attacks by `verify`, or those of one route, in running order."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    routes = get_args(Route)
    ordered = sorted(PLANS.values(), key=lambda plan: (routes.index(plan.route), plan.order))
    return [plan for plan in ordered if route in (None, plan.route)]
