"""Run the bookkeeping of a report's attacks again: which samples each must have met, and at what cost.

Which samples an attack meets follows from the clean ranks and from the attacks before it, by the rules of
`verify.crafting`. Nothing is attacked for that, so the runtime can afford it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.implied import cost_of
from advcal_edge.report.measured import Measured
from advcal_edge.report.results import SECOND_LOOK, AttackResult, Flags, first_attacks
from advcal_edge.report.value import Value

Difference = tuple[Value, str]
UNSETTLED = 0.05
"""Share of samples that may be judged otherwise in the last batch than in the search, and so have other queries than
their answers say: int8 may move by one step with the batch. bindlite, image in fp32 and int8, thermal in int8: none of
3,856 attacks on a sample."""


@dataclass(slots=True)
class Standing:
    """Where (n,) each side has withstood the attacks so far."""

    right: dict[str, Flags]
    """Right on clean input, per model."""
    shared: Flags
    """The reference, after the attacks that are in every report."""
    reference: Flags
    """The reference, after all attacks in this report."""
    engine: Flags
    first: set[int] = field(default_factory=set)
    """Positions of the first attack on each model."""

    @classmethod
    def before(cls, measured: Measured) -> Standing:
        """Before anything was attacked."""
        right = {model: measured.right(model) for model in measured.clean}
        first = {id(item) for item in first_attacks(measured.attacks).values()}
        positions = {k for k, item in enumerate(measured.attacks) if id(item) in first}
        reference, engine = right["reference"], right["engine"]
        return cls(right, reference.copy(), reference.copy(), engine.copy(), positions)

    def meets(self, position: int, item: AttackResult) -> Flags:
        """Where (n,) an attack finds samples to attack."""
        if position in self.first or item.route == "black box":
            return self.right[item.crafted_on]
        own = self.engine if item.crafted_on == "engine" else self.shared
        if item.route != "difference":
            return own
        both = self.right["reference"] & self.right["engine"]
        return both & (own if item.crafted_on == "engine" else self.reference)

    def after(self, position: int, item: AttackResult, *, shared: bool) -> None:
        """Remember who withstood; `shared` says whether the first attack on the engine is in every report."""
        alone = item.crafted_on == "engine" or item.route == "difference"
        if not alone or (position in self.first and shared):
            self.shared = self.shared & ~item.fools("reference")
        self.reference = self.reference & ~item.fools("reference")
        self.engine = self.engine & ~item.fools("engine")


def replayed(document: Value, measured: Measured) -> Iterator[Difference]:
    """Every attack that met other samples than it must have, or cost what it cannot cost.

    An engine that is also a source is attacked before the reference's own stronger attacks, for all reports; any other
    for its own report alone. A report does not tell which, so either may be.
    """
    values = document["attacks"].items()
    found = [list(met_others(values, measured, shared=shared)) for shared in (True, False)]
    yield from min(found, key=len)
    yield from seen_again(values, measured)
    # attacks end early where the gradient is dead, and then the check of it fails
    alive = measured.checks["gradients_alive"].status != "fail"
    exact = document["expectation"].integer() == 1
    for value, item in zip(values, measured.attacks, strict=True):
        blind = item.route in ("black box", "label only")
        yield from impossible_cost(value, item, exact=exact and (alive or blind))


def met_others(values: Sequence[Value], measured: Measured, *, shared: bool) -> Iterator[Difference]:
    """Attacks whose flags differ from what the attacks before them left standing."""
    standing = Standing.before(measured)
    for position, (value, item) in enumerate(zip(values, measured.attacks, strict=True)):
        if item.route == SECOND_LOOK:
            continue  # after all attacks, see `seen_again`
        wanted = standing.meets(position, item)
        wrong = int((wanted != item.attacked).sum())
        if wrong:
            left = "were right when clean" if wanted is standing.right.get(item.crafted_on) else "stood until then"
            yield value["attacked"], f"the {int(wanted.sum())} samples that {left} ({wrong} differ)"
        standing.after(position, item, shared=shared)


def seen_again(values: Sequence[Value], measured: Measured) -> Iterator[Difference]:
    """Variants of the second look that did not meet every sample which both sides get right when clean, each once."""
    both = measured.right("reference") & measured.right("engine")
    met: dict[str, NDArray[np.int64]] = {}
    looks = [(value, item) for value, item in zip(values, measured.attacks, strict=True) if item.route == SECOND_LOOK]
    for value, item in looks:
        met[item.attack] = met.get(item.attack, np.zeros_like(both, np.int64)) + item.attacked
        if item.queries != int(item.attacked.sum()):
            yield value["queries"], f"{int(item.attacked.sum())}, one for each input"
    for value, item in looks:
        if not np.array_equal(met[item.attack], both.astype(np.int64)):
            yield value["attacked"], f"each of the {int(both.sum())} samples that both get right, once"


def impossible_cost(value: Value, item: AttackResult, *, exact: bool) -> Iterator[Difference]:
    """Queries that no run of this attack on these samples can have made.

    `exact` if the model answers alike each time, so that the answers which ended a search are those that were judged.
    """
    met, cost = int(item.attacked.sum()), cost_of(item.attack)
    if cost is None:
        return
    withstood = int((item.attacked & ~item.fools(item.crafted_on)).sum()) if exact else 0
    settled = max(withstood - math.ceil(UNSETTLED * met), 0)
    least, most = settled * cost.most + (met - settled) * cost.least, met * cost.most
    if not least <= item.queries <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        yield value["queries"], f"{wanted}, which {met} samples cost"


def misspent(attack: str, attacked: Flags, withstood: Flags, queries: NDArray[np.int64], *, exact: bool = True) -> bool:
    """Can no run of `attack` have made these queries (n,)? Of the samples `attacked` (n,), some `withstood` (n,)."""
    cost = cost_of(attack)
    if cost is None:
        return bool(queries[~attacked].any())
    met, early = queries[attacked], int((attacked & withstood & (queries != cost.most)).sum()) if exact else 0
    beyond = met.size and not cost.least <= met.min() <= met.max() <= cost.most
    return bool(queries[~attacked].any() or beyond or early > math.ceil(UNSETTLED * len(met)))
