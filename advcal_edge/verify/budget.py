"""How hard `verify` attacks: named budgets, printed before they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from advcal_edge.attacks import APGD, LOSSES, PGD, Attack, RayS, Square, TargetedAPGD
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose

CHOICE = ("ce", "ce-scaled", "margin", "dlr")


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps, restarts, losses and queries of every route; 0 leaves an attack out."""

    name: str
    pgd_steps: int
    pgd_restarts: int
    apgd_steps: int
    apgd_restarts: int
    losses: tuple[str, ...]
    targets: int  # classes that targeted APGD aims at
    difference_steps: int
    square_queries: int
    label_queries: int

    def first(self) -> Attack:
        """The attack that every sample meets, whoever it is crafted on; it goes on where it has won, to travel well."""
        return PGD(steps=self.pgd_steps, select="strongest")

    def stronger(self, classes: int) -> list[Attack]:
        """The attacks for samples that withstood the first; targeted DLR needs four of the `classes`."""
        found: list[Attack] = []
        if self.pgd_restarts > 1:
            found.append(PGD(steps=self.pgd_steps, restarts=self.pgd_restarts - 1))
        found += [APGD(self.apgd_steps, self.apgd_restarts, loss) for loss in self.losses]
        if self.targets:
            found.append(
                TargetedAPGD(self.apgd_steps, min(self.targets, classes - 1), "dlr" if classes > 3 else "margin")
            )
        return found

    def difference(self) -> Attack | None:
        """The attack that wants one side wrong and the other right."""
        return PGD(steps=self.difference_steps, loss="diva") if self.difference_steps else None

    def black_box(self) -> Attack | None:
        """The attack that sees scores only."""
        return Square(queries=self.square_queries) if self.square_queries else None

    def label_only(self) -> Attack | None:
        """The attack that sees labels only."""
        return RayS(queries=self.label_queries) if self.label_queries else None

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

    def describe(self) -> str:
        """One line for people."""
        parts = [
            f"PGD-{self.pgd_steps}{times(self.pgd_restarts)}",
            f"APGD-{self.apgd_steps}{times(self.apgd_restarts)} ({'+'.join(self.losses)})",
        ]
        parts += [f"targeted APGD-{self.apgd_steps} x {self.targets} classes"] if self.targets else []
        parts += [f"DIVA-{self.difference_steps}"] if self.difference_steps else []
        parts += [f"Square {self.square_queries}"] if self.square_queries else []
        parts += [f"label only {self.label_queries}"] if self.label_queries else []
        return f"{self.name}: {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {**asdict(self), "losses": list(self.losses)}


def times(restarts: int) -> str:
    """` x 5` for five restarts, nothing for one."""
    return f" x {restarts}" if restarts > 1 else ""


BUDGETS: Mapping[str, Budget] = {
    "quick": Budget("quick", 10, 1, 10, 1, ("ce", "margin"), 0, 5, 50, 50),
    "standard": Budget("standard", 20, 1, 50, 1, ("ce", "margin"), 3, 20, 1000, 1000),
    "full": Budget("full", 100, 5, 100, 5, ("ce", "margin", "dlr"), 3, 100, 5000, 5000),
}
"""`quick` for a build server, `standard` for a release, `full` for a publication."""
