"""Random outcomes of attacks, one flag a sample: what a document of `verify` is then counted from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import APGD, PGD, Attack, Square

Flags = NDArray[np.bool_]

FIRST: Attack = PGD(steps=10, loss="ce")
STRONGER: tuple[Attack, ...] = (APGD(steps=10, loss="ce"), APGD(steps=10, loss="margin"))
DIFFERENCE = repr(PGD(steps=20, loss="diva"))
PLAN: tuple[tuple[str, str, str, float], ...] = (
    ("transfer", repr(FIRST), "reference", 0.28),
    *(("transfer", repr(attack), "reference", 0.34) for attack in STRONGER),
    ("transfer", repr(FIRST), "trunk", 0.10),
    ("transfer", repr(FIRST), "fp32", 0.27),
    ("gradient", repr(FIRST), "engine", 0.29),
    *(("gradient", repr(attack), "engine", 0.345) for attack in STRONGER),
    ("difference", DIFFERENCE, "engine", 0.25),
    ("difference", DIFFERENCE, "reference", 0.24),
    ("black box", repr(Square(queries=50)), "reference", 0.06),
    ("black box", repr(Square(queries=50)), "engine", 0.06),
    ("label only", "RayS(queries=100)", "reference", 0.04),
    ("label only", "RayS(queries=100)", "engine", 0.04),
)
"""Route, attack, whom it was crafted on, and the share of samples it reaches."""
ROUTES = ("transfer", "gradient", "difference", "black box", "label only")
SOURCES = ("trunk", "fp32")


@dataclass(frozen=True)
class Route:
    """One attack: whom it met and whom it fools."""

    route: str
    attack: str
    crafted_on: str
    attacked: Flags
    fools: dict[str, Flags]
    queries: float


@dataclass(frozen=True)
class Outcome:
    """Right when clean on either side, and every attack."""

    clean: dict[str, Flags]
    routes: list[Route]

    def withstood(self, side: str, *routes: str) -> Flags:
        """Right when clean and after every input of these routes."""
        right = self.clean[side].copy()
        for item in self.routes:
            if item.route in routes:
                right &= ~item.fools[side]
        return right

    @property
    def fooled(self) -> Flags:
        """Where any attack fools the engine."""
        fooled: Flags = np.logical_or.reduce([item.fools["engine"] for item in self.routes])
        return fooled

    def found_by(self, sample: int, side: str) -> str | None:
        """The first attack that fools a side; None where it is wrong without one."""
        if not self.clean[side][sample]:
            return None
        item = next(item for item in self.routes if item.fools[side][sample])
        return f"{item.route}: {item.attack}, crafted on {item.crafted_on}"


def outcome(rng: np.random.Generator, n: int, *, lost: float, gained: float) -> Outcome:
    """An engine that loses and gains these shares of samples under attack; later attacks meet who is left standing."""
    right = rng.random(n) < 0.91
    clean = {"reference": right, "engine": right ^ (rng.random(n) < 0.004)}
    weak = rng.random(n)
    flip_lost, flip_gained = rng.random(n) < lost, rng.random(n) < gained
    standing = {side: flags.copy() for side, flags in clean.items()}
    routes = []
    for route, attack, crafted_on, reach in PLAN:
        own = crafted_on if crafted_on in standing else "reference"
        attacked = (standing if attack in map(repr, STRONGER) else clean)[own].copy()
        reached = attacked & (weak < reach + 0.01 * rng.standard_normal(n))
        fools = {
            "reference": reached & ~flip_gained,
            "engine": (reached | (attacked & flip_lost)) & ~(flip_gained & (weak < 0.5)),
        }
        routes.append(Route(route, attack, crafted_on, attacked, fools, 10.0 if attacked.any() else 0.0))
        standing[own] &= ~fools[own]
    return Outcome(clean, routes)
