"""How hard `verify` attacks: named budgets, printed before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from advcal_edge.attacks import LOSSES, Attack, Route, plans
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.report.consistency import BUDGETS as NAMED
from advcal_edge.threat import Norm

CHOICE = ("ce", "ce-scaled", "margin", "dlr")
MANY = 1000  # classes, if a budget is described before a model is known


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps, restarts, losses and queries of every attack; a number that is 0 or missing disables its attack."""

    name: str
    losses: tuple[str, ...]
    """Losses of APGD."""
    numbers: Mapping[str, int]
    """Numbers that attack plans need, see `attacks.planned`."""

    def attacks(self, route: Route, norm: Norm, classes: int) -> list[Attack]:
        """The attacks of one route on a model with this many classes."""
        known = {**self.numbers, "losses": self.losses, "classes": classes}
        return [
            attack
            for plan in plans(route)
            if norm in plan.norms
            for attack in plan.attacks(**{name: known.get(name, 0) for name in plan.needs})
        ]

    def first(self, norm: Norm) -> Attack:
        """The first attack: run on every sample and every model."""
        (attack,) = self.attacks("first", norm, MANY)
        return attack

    def check(self, classes: int) -> None:
        """Refuse losses that do not exist for this many classes.

        Raises:
            ConfigError: DLR with fewer than three classes.
        """
        if "dlr" in self.losses and classes < 3:
            raise ConfigError(
                f"budget `{self.name}` with losses {','.join(self.losses)}: the DLR loss needs at least 3 classes;"
                f" this bundle has {classes}",
                hint="use `--losses ce,margin`",
            )

    def with_losses(self, names: tuple[str, ...]) -> Budget:
        """The same budget with other losses.

        Raises:
            ConfigError: an unknown loss, or none.
        """
        for name in names:
            choose("loss", name, {loss: loss for loss in LOSSES if loss in CHOICE})
        if not names:
            raise ConfigError(f"`--losses` is empty; expected some of {', '.join(f'`{name}`' for name in CHOICE)}")
        return replace(self, losses=names)

    def describe(self, norm: Norm) -> str:
        """One readable line: every attack that runs, and those that cannot run in this norm."""
        known = {**self.numbers, "losses": self.losses, "classes": MANY}
        shown = {name: times(n) if name.endswith("_restarts") else str(n) for name, n in self.numbers.items()}
        shown["losses"] = "+".join(self.losses)
        parts, left_out = [], []
        for plan in plans():
            if not plan.attacks(**{name: known.get(name, 0) for name in plan.needs}):
                continue
            if norm not in plan.norms:
                left_out.append(plan.name)
            elif plan.summary:
                parts.append(plan.summary.format(**{name: shown.get(name, "0") for name in (*shown, *plan.needs)}))
        missing = f"; left out, as they do not support {norm}: {', '.join(left_out)}" if left_out else ""
        return f"{self.name}: {', '.join(parts)}{missing}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {"name": self.name, "losses": list(self.losses), **self.numbers}


def times(restarts: int) -> str:
    """` x 5` for five restarts, nothing for one."""
    return f" x {restarts}" if restarts > 1 else ""


BUDGETS: Mapping[str, Budget] = {name: Budget(name, losses, numbers) for name, (losses, numbers) in NAMED.items()}
