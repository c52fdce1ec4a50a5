"""Inputs judged again, in other batches and changed a little: what a report must hold of them, and what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from advcal_edge.report.checks import RULES, Check, judge_value, skip
from advcal_edge.report.results import SECOND_LOOK, SIDES, AttackResult
from advcal_edge.stats import tango

CRAFTED: Mapping[str, tuple[int, ...]] = {
    "as crafted, alone": (1,),
    "as crafted, in even batches": (2, 4, 8, 16),
    "as crafted, in odd batches": (3, 5, 6, 7),
    "rounded to the sensor's grid": (1, 32),
    "half of the change": (1, 9),
    "a quarter of the change": (1, 10),
    "an eighth of the change": (1, 12),
    "a random part of the change": (1, 14),
    "one level of noise added": (1, 24),
}
"""Variants of crafted inputs, and the sizes of the batches in which they are judged, as many samples in each size."""

CLEAN: Mapping[str, tuple[int, ...]] = {
    "clean, alone": (1,),
    "clean, on the sensor's grid": (1, 20),
    "clean, one level of noise added": (1, 18),
    "all values shifted": (1, 15),
    "a row shifted": (1, 13),
    "a channel shifted": (1, 11),
}
"""Variants of clean inputs, likewise."""

CHANNELS = "a channel shifted"
"""The one variant that inputs of a single channel lack: it would be the same as `all values shifted`."""


def missing_variants(attacks: Sequence[AttackResult]) -> Iterator[str]:
    """Variants that every report holds and this one does not."""
    held = {item.attack for item in attacks if item.route == SECOND_LOOK}
    yield from (name for name in (*CRAFTED, *CLEAN) if name not in held and name != CHANNELS)


def same_at_second_look(attacks: Sequence[AttackResult], margin: float) -> Check:
    """The largest drop of one variant: lower bound of the share of judged samples that only the reference gets right.

    The worst case combines all inputs, so it cannot show a loss on samples that are lost to stronger inputs anyway.
    """
    by_name: dict[str, list[AttackResult]] = {}
    for item in attacks:
        if item.route == SECOND_LOOK and item.attacked.any():
            by_name.setdefault(item.attack, []).append(item)
    if not by_name:
        return skip("same_at_second_look", "no input was judged again")
    bound, why = max((drop_of(name, items) for name, items in by_name.items()), key=lambda found: found[0])
    return judge_value("same_at_second_look", bound, why, limit=margin * RULES["same_at_second_look"].limit)


def drop_of(name: str, items: Sequence[AttackResult]) -> tuple[float, str]:
    """Lower bound of the drop on one variant, and what it says."""
    n = int(np.logical_or.reduce([item.attacked for item in items]).sum())
    reference, engine = (np.logical_or.reduce([item.fools(side) for item in items]) for side in SIDES)
    lost, gained = int((engine & ~reference).sum()), int((reference & ~engine).sum())
    why = f"95 % lower bound of the drop on inputs judged again, the worst kind: {name} (+{gained} / -{lost} of {n})"
    return tango(lost, gained, n).low, why
