"""Results of attacks per sample: outcomes, drift, curves and rankings, as stored in a report's `measured` half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.implied import PGD
from advcal_edge.report.value import Value
from advcal_edge.retrieval import Rank

Flags = NDArray[np.bool_]
Side = Literal["reference", "engine"]
SIDES: tuple[Side, Side] = ("reference", "engine")
SECOND_LOOK = "second look"
"""Route of inputs that are judged again, see `report.second_look`."""
ROUTES = ("transfer", "gradient", "difference", "black box", "label only", SECOND_LOOK)
WHITE_BOX = ("transfer", "gradient")


@dataclass(frozen=True, slots=True, eq=False)
class AttackResult:
    """One attack on all samples: per model the rank (n,) of the true label, 0 where it is right or was not attacked."""

    route: str
    attack: str
    crafted_on: str
    """`reference`, `engine` or the name of a source."""
    attacked: Flags
    queries: int
    ranks: Mapping[str, Rank]

    def fools(self, model: str) -> Flags:
        """Where (n,) the model's label for the adversarial input is wrong."""
        return self.ranks[model] > 0

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.attacks`."""
        return {
            "route": self.route,
            "attack": self.attack,
            "crafted_on": self.crafted_on,
            "attacked": flag_text(self.attacked),
            "queries": self.queries,
            "ranks": {model: rank.tolist() for model, rank in self.ranks.items()},
        }

    @classmethod
    def read(cls, value: Value, n: int, labels: int, models: Sequence[str]) -> AttackResult:
        """Read what `to_json` wrote."""
        value.only("route", "attack", "crafted_on", "attacked", "queries", "ranks")
        attacked, ranks = value["attacked"].flags(n), {}
        route, crafted_on = value["route"].choice(ROUTES), value["crafted_on"].choice(models)
        if route in WHITE_BOX and (route == "gradient") is not (crafted_on == "engine"):
            raise value["crafted_on"].expected("`engine` for `gradient`, the reference or a source for `transfer`")
        for model in (*SIDES, *(name for name in value["ranks"].object() if name not in SIDES)):
            if model not in models:
                raise value["ranks"].malformed(f"has `{model[:60]}`; expected {', '.join(models)}")
            ranks[model] = value["ranks"][model].integers(n, labels)
            if (ranks[model] > 0)[~attacked].any():
                raise value["ranks"][model].malformed("has a rank above 0 for a sample that was not attacked")
        return cls(route, value["attack"].text(), crafted_on, attacked, value["queries"].integer(), ranks)


def first_attacks(attacks: Sequence[AttackResult]) -> dict[str, AttackResult]:
    """The first white-box attack per model it was crafted on; it is the same on every model and judged by all."""
    name = next((item.attack for item in attacks if item.route in WHITE_BOX), None)
    first: dict[str, AttackResult] = {}
    for item in attacks:
        if item.route in WHITE_BOX and item.attack == name:
            first.setdefault(item.crafted_on, item)
    return first


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Per clean sample (n,): cosine of the two embeddings, largest change of a score, and the reference's margin."""

    cosine: NDArray[np.float64]
    change: NDArray[np.float64]
    margin: NDArray[np.float64]

    @property
    def near_ties(self) -> Flags:
        """Where (n,) the drift is large enough to change the decision."""
        return 2 * self.change >= self.margin

    @property
    def near_tie_rows(self) -> NDArray[np.int64]:
        """Indices of the near ties, sorted so that drift exceeds margin most in the first."""
        rows = np.flatnonzero(self.near_ties)
        slack = self.margin[rows] - 2 * self.change[rows]
        return rows[np.argsort(slack, kind="stable")].astype(np.int64)

    def stacked(self) -> NDArray[np.float64]:
        """All three as (3, n)."""
        return np.stack([self.cosine, self.change, self.margin])

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.drift`."""
        return {name: getattr(self, name).tolist() for name in ("cosine", "change", "margin")}

    @classmethod
    def read(cls, value: Value, n: int) -> Drift:
        """Read what `to_json` wrote."""
        value.only("cosine", "change", "margin")
        cosine, change, margin = (value[name].numbers(n) for name in ("cosine", "change", "margin"))
        for name, wrong in (("cosine", np.abs(cosine) > 1.001), ("change", change < 0), ("margin", margin < 0)):
            if wrong.any():
                item = value[name].items()[int(wrong.argmax())]
                raise item.expected("a cosine" if name == "cosine" else "0 or more")
        return cls(cosine, change, margin)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One radius, a fraction of the bounds' width, and where (n,) the model withstood it."""

    eps: float
    right: Flags


DRAWN = 64
"""The first samples, on which the curve is drawn."""
MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Radii of the curve, in units of the threat's; the last point of a curve is the whole width of the bounds."""
CURVE_STEPS = 10
CURVE_ATTACK = PGD.format(steps=CURVE_STEPS, restarts=1, loss="ce", select="best")
"""The attack of the curve."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Robustness of one model under one attack at ascending radii, the same samples at each."""

    attack: str
    points: Sequence[Point]

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.curve`."""
        points = [{"eps": point.eps, "right": flag_text(point.right)} for point in self.points]
        return {"attack": self.attack, "points": points}

    @classmethod
    def read(cls, value: Value) -> Curve:
        """Read what `to_json` wrote; radii ascend from 0."""
        value.only("attack", "points")
        points: list[Point] = []
        for item in value["points"].items():
            item.only("eps", "right")
            eps = item["eps"].number()
            if (eps <= points[-1].eps) if points else eps != 0:
                raise item["eps"].expected("radii that ascend from 0")
            points.append(Point(eps, item["right"].flags(len(points[0].right) if points else None)))
        if len(points) < 2:
            raise value["points"].malformed("has no radius above 0")
        return cls(value["attack"].text(), points)


Places = Mapping[Side, Mapping[str, Rank]]
"""Per side and direction the rank (n,) of each partner: `forward` from a sample to its partner, `backward` to it."""
DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """Ranks of the partners for clean inputs, and for inputs crafted on each side."""

    attack: str
    clean: Places
    crafted: Mapping[Side, Places]
    gallery: int
    """Number of partners: one per sample, or all of the bundle's in a sequential run, which may stop earlier."""

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.retrieval`."""
        crafted = {side: places_to_json(places) for side, places in self.crafted.items()}
        document = {"attack": self.attack, "clean": places_to_json(self.clean), "crafted": crafted}
        return document if self.gallery == self.n else {**document, "gallery": self.gallery}

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.clean["reference"]["forward"])

    @classmethod
    def read(cls, value: Value, n: int) -> Retrieval:
        """Read what `to_json` wrote."""
        value.only("attack", "clean", "crafted", "gallery")
        size = n if value.get("gallery") is None else value["gallery"].integer()
        if size < n:
            raise value["gallery"].expected(f"at least {n}, the samples of this report")
        value["crafted"].only(*SIDES)
        crafted = {side: value["crafted"][side] for side in SIDES if value["crafted"].get(side)}
        places = {side: read_places(item, n, size) for side, item in crafted.items()}
        return cls(value["attack"].text(), read_places(value["clean"], n, size), places, size)


def places_to_json(places: Places) -> dict[str, Any]:
    """Convert ranks to lists."""
    return {side: {name: rank.tolist() for name, rank in ranks.items()} for side, ranks in places.items()}


def read_places(value: Value, n: int, gallery: int) -> Places:
    """Read what `places_to_json` wrote, for n samples among `gallery` partners."""
    value.only(*SIDES)
    below = {"forward": gallery, "backward": n}
    return {side: {name: value[side][name].integers(n, below[name]) for name in DIRECTIONS} for side in SIDES}


def flag_text(flags: Flags) -> str:
    """A string with one character per sample, 1 or 0."""
    return "".join("1" if flag else "0" for flag in flags)
