"""How hard `verify` attacks: named budgets, printed before they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from advcal_edge.attacks import APGD, LOSSES, PGD, Attack, Square
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose


@dataclass(frozen=True, slots=True)
class Budget:
    """Steps, losses and queries of every route."""

    name: str
    pgd_steps: int
    apgd_steps: int
    apgd_restarts: int
    losses: tuple[str, ...]
    square_queries: int

    def first(self) -> Attack:
        """The attack that every sample meets, on either side and from the same starts."""
        return PGD(steps=self.pgd_steps, loss="ce")

    def stronger(self) -> list[Attack]:
        """The attacks for samples that withstood the first."""
        return [APGD(steps=self.apgd_steps, restarts=self.apgd_restarts, loss=loss) for loss in self.losses]

    def black_box(self) -> Attack:
        """The attack that sees scores only."""
        return Square(queries=self.square_queries)

    def with_losses(self, names: tuple[str, ...], classes: int) -> Budget:
        """The same budget with other losses.

        Raises:
            ConfigError: an unknown loss, or DLR with fewer than three classes.
        """
        for name in names:
            choose("loss", name, {loss: loss for loss in LOSSES if loss in ("ce", "margin", "dlr")})
        if "dlr" in names and classes < 3:
            raise ConfigError(
                f"`--losses {','.join(names)}`: the DLR loss needs at least 3 classes; this bundle has {classes}",
                hint="use `--losses ce,margin`",
            )
        if not names:
            raise ConfigError("`--losses` is empty; expected some of `ce`, `margin`, `dlr`")
        return replace(self, losses=names)

    def describe(self) -> str:
        """One line for people."""
        losses = "+".join(self.losses)
        restarts = f" x {self.apgd_restarts}" if self.apgd_restarts > 1 else ""
        apgd = f"APGD-{self.apgd_steps}{restarts} ({losses})"
        return f"{self.name}: PGD-{self.pgd_steps}, {apgd}, Square {self.square_queries}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {**asdict(self), "losses": list(self.losses)}


BUDGETS: Mapping[str, Budget] = {
    "quick": Budget("quick", 10, 10, 1, ("ce", "margin"), 50),
    "standard": Budget("standard", 20, 50, 1, ("ce", "margin"), 1000),
}
