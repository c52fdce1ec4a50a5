"""Which attacks compete: ours, and the same of every library that has it, with the same steps and step sizes."""

from __future__ import annotations

from dataclasses import dataclass

import attack_libraries as libraries
import attack_originals as originals
from attack_libraries import Craft

from advcal_edge.attacks import APGD, PGD, Attack, Square, TargetedAPGD

OURS = "advcal-edge"
STEPS, STEP, QUERIES, TARGETS = 20, 1 / 8, 300, 9


@dataclass(frozen=True, slots=True)
class Contest:
    """One attack in every library; `passes` of a sample at most, forward alone and forward with the gradient."""

    ours: Attack
    others: dict[str, Craft]
    passes: tuple[int, int]


def contests(norm: str, classes: int) -> dict[str, Contest]:
    """Contests by name."""
    targets = min(TARGETS, classes - 1)
    found = {f"PGD-{STEPS}": pgd(norm)}
    found |= {f"APGD-{STEPS} {loss}": apgd(loss, norm) for loss in ("ce", "dlr")}
    return {
        **found,
        f"targeted APGD-{STEPS} x {targets} dlr": targeted(norm, targets),
        f"Square {QUERIES}": square(norm),
    }


def pgd(norm: str) -> Contest:
    """Steps of radius / 8 along the gradient of cross-entropy from one random start."""
    others = {
        "torchattacks": libraries.torchattacks_pgd(STEPS, STEP, norm),
        "foolbox": libraries.foolbox_pgd(STEPS, STEP, norm),
        "art": libraries.art_pgd(STEPS, STEP, norm),
    }
    if norm == "linf":
        others["adv-lib"] = originals.advlib_pgd(STEPS, STEP)
    return Contest(PGD(steps=STEPS, step=STEP), others, (2, STEPS))


def apgd(loss: str, norm: str) -> Contest:
    """One run from one random start."""
    others = {
        "autoattack": originals.autoattack_apgd(STEPS, loss, norm),
        "adv-lib": originals.advlib_apgd(STEPS, loss, norm),
        "torchattacks": libraries.torchattacks_apgd(STEPS, loss, norm),
        "art": libraries.art_apgd(STEPS, loss, norm),
    }
    return Contest(APGD(steps=STEPS, loss=loss), others, (2, STEPS))


def targeted(norm: str, targets: int) -> Contest:
    """One run toward each of the best wrong classes; ART has none."""
    others = {
        "autoattack": originals.autoattack_targeted(STEPS, targets, norm),
        "adv-lib": originals.advlib_targeted(STEPS, targets, norm),
        "torchattacks": libraries.torchattacks_targeted(STEPS, targets, norm),
    }
    return Contest(TargetedAPGD(steps=STEPS, targets=targets), others, (1 + targets, targets * STEPS))


def square(norm: str) -> Contest:
    """The black box; adv-lib and foolbox have none."""
    others = {
        "autoattack": originals.autoattack_square(QUERIES, norm),
        "torchattacks": libraries.torchattacks_square(QUERIES, norm),
    }
    if norm == "linf":  # in l2 the one of ART 1.20.1 divides by the length it should multiply with, and by zero
        others["art"] = libraries.art_square(QUERIES, norm)
    return Contest(Square(queries=QUERIES), others, (QUERIES, 0))
