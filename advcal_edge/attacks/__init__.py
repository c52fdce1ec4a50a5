"""Attacks, written once against the array API: numpy, torch and CUDA arrays alike. One attack a file."""

from advcal_edge.attacks.apgd import APGD
from advcal_edge.attacks.base import Attack, AttackOutcome, Proposal, Victim, run_attack
from advcal_edge.attacks.difference import difference_victim
from advcal_edge.attacks.expectation import expected_victim
from advcal_edge.attacks.losses import LOSSES
from advcal_edge.attacks.pgd import PGD
from advcal_edge.attacks.rays import RayS
from advcal_edge.attacks.square import Square
from advcal_edge.attacks.targeted import TargetedAPGD
from advcal_edge.attacks.transfer import Transfer

__all__ = [
    "APGD",
    "LOSSES",
    "PGD",
    "Attack",
    "AttackOutcome",
    "Proposal",
    "RayS",
    "Square",
    "TargetedAPGD",
    "Transfer",
    "Victim",
    "difference_victim",
    "expected_victim",
    "run_attack",
]
