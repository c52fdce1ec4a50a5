"""Can a block have come from this run? Its attacks, flags, queries and winners are worked out again from its ranks.

Nothing is attacked and no model runs. A state on disk may have been written by hand; what an honest run cannot write is
refused here, and `recheck` asks the models about the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np

from advcal_edge.attacks import Route
from advcal_edge.report.replay import misspent
from advcal_edge.report.results import SECOND_LOOK
from advcal_edge.spec import Modality
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.answers import odd_answers
from advcal_edge.verify.block import FIRST, Attempt, Block, Bools, Winners
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.crafting import SHOWN
from advcal_edge.verify.model_set import REFERENCE, ModelSet
from advcal_edge.verify.samples import HeldOut
from advcal_edge.verify.second_look import planned_looks, rows_of

ROUNDING = (1e-4, 1e-6)
"""Excess over the radius that float32 may leave: a share of eps, and of the width of the bounds."""
Key = tuple[str, str, str, "str | None"]


def planned_attempts(models: ModelSet, samples: HeldOut, budget: Budget, modality: Modality) -> Iterator[Key]:
    """Identity of every attack and second look on a block, in the order in which `crafting.attack_block` runs them."""
    attacks = list(planned_attacks(models, samples, budget))
    yield from attacks
    for engine in models.engines:
        sides = sides_of(attacks, models, engine)
        yield from ((SECOND_LOOK, look, side, engine) for look, side in planned_looks(sides, modality))


def sides_of(attacks: Sequence[Key], models: ModelSet, engine: str) -> list[str]:
    """Reference and engine, if inputs were crafted on them that a second look can take."""
    met = {
        model
        for route, _, model, _ in attacks
        if route != "difference" and (models.all[model].gradient is None or route not in ("black box", "label only"))
    }
    return [name for name in (REFERENCE, engine) if name in met]


def planned_attacks(models: ModelSet, samples: HeldOut, budget: Budget) -> Iterator[Key]:
    """Identity of every attack on a block, in order."""
    classes, norm = len(models.reference.centers.labels), samples.threat.norm
    attacks = {route: [repr(attack) for attack in budget.attacks(route, norm, classes)] for route in get_args(Route)}
    for name, model in models.all.items():
        if model.gradient is not None:
            alone = name in models.engines and name not in models.sources
            yield FIRST, attacks["first"][0], name, name if alone else None
    for side in models.judges:
        aimed_at = None if side == REFERENCE else side
        white = "transfer" if aimed_at is None else "gradient"
        if models.all[side].gradient is not None:
            yield from ((white, attack, side, aimed_at) for attack in attacks["gradient"])
        if aimed_at is not None and models.has_difference(side):
            for other in (side, REFERENCE):
                yield from (("difference", attack, other, side) for attack in attacks["difference"])
        for route in ("black box", "label only"):
            yield from ((route, attack, side, aimed_at) for attack in attacks[route])


def unsound(
    block: Block,
    models: ModelSet,
    samples: HeldOut,
    budget: Budget,
    modality: Modality,
    *,
    abstention: bool = False,
) -> Iterator[str]:
    """Describe what no run of these models, samples and budget can have written into a block."""
    planned = list(planned_attempts(models, samples, budget, modality))
    routes = {FIRST, "transfer", SECOND_LOOK, *get_args(Route)}
    if [attempt.key for attempt in block.attempts if attempt.route in routes] != planned:
        yield f"was not attacked and looked at as this run does, {len(planned)} times, in order"
        return
    for position, attempt in enumerate(block.attempts):
        if attempt.route in routes:
            for words in impossible(block, position, attempt, models):
                yield f"has a {attempt.route} attack on {attempt.crafted_on} {words}"
    for engine, winners in block.winners.items():
        for words in foreign_winners(block, engine, winners, samples.threat):
            yield f"has inputs that fool {engine} {words}"
    for engine, drift in block.drift.items():
        if not np.isfinite(drift).all() or (np.abs(drift[0]) > 1.001).any() or (drift[1:] < 0).any():
            yield f"has a drift of {engine} that no embeddings have"
    if block.answers.keys() != (set(models.engines) if abstention else set()):
        yield (
            "knows not how sure the engines were" if abstention else "knows how sure engines were, which was not asked"
        )
        return
    for engine in block.answers:
        seeing = models.engines[engine].gradient is not None
        routes_on_rule: tuple[Route, ...] = (
            ("abstention", "abstention by scores") if seeing else ("abstention by scores",)
        )
        classes, norm = len(models.reference.centers.labels), samples.threat.norm
        aimed = [repr(attack) for route in routes_on_rule for attack in budget.attacks(route, norm, classes)]
        yield from odd_answers(block, engine, aimed)
    if not 0 <= block.seconds < float("inf"):
        yield "took no time that a clock shows"


def impossible(block: Block, position: int, attempt: Attempt, models: ModelSet) -> Iterator[str]:
    """What is wrong with one attack, given the clean ranks and the attacks before it."""
    if attempt.route == SECOND_LOOK:
        met = met_again(block, attempt)
        if (attempt.queries != attempt.attacked).any():
            yield "with other queries than one for each input"
    else:
        met = meets(block, position, attempt)
    if not np.array_equal(met, attempt.attacked):
        yield f"on {int(attempt.attacked.sum())} samples, not on the {int(met.sum())} that were standing"
    if any(rank[~attempt.attacked].any() for rank in attempt.rank.values()):
        yield "that fools models on samples it did not attack"
    withstood = attempt.rank[attempt.crafted_on] == 0
    # an attack by a gradient may end early where that is dead; the report tells whether it was, see `replay`
    exact = models.all[attempt.crafted_on].calls == 1 and attempt.route in ("black box", "label only")
    if misspent(attempt.attack, attempt.attacked, withstood, attempt.queries, exact=exact):
        yield "with queries that it cannot have used"


def meets(block: Block, position: int, attempt: Attempt) -> Bools:
    """Where (n,) an attack finds samples to attack, by the rules of `crafting.Crafting`."""
    own, engine = attempt.crafted_on, attempt.aimed_at
    right: Bools = block.rank[own] == 0
    if attempt.route in (FIRST, "black box"):
        return right
    for earlier in block.attempts[:position]:
        if earlier.aimed_at in (None, engine):
            right = right & (earlier.rank[own] == 0)
    if attempt.route == "difference" and engine is not None:
        right = right & (block.rank[REFERENCE] == 0) & (block.rank[engine] == 0)
    return right


def met_again(block: Block, look: Attempt) -> Bools:
    """Where (n,) a second look finds samples, by the rules of `second_look`."""
    right: Bools = (block.rank[REFERENCE] == 0) & (block.rank[str(look.aimed_at)] == 0)
    mine = [
        one
        for one in block.attempts
        if (one.route, one.attack, one.aimed_at) == (SECOND_LOOK, look.attack, look.aimed_at)
    ]
    return rows_of(look.attack, look.crafted_on, [one.crafted_on for one in mine], right, block.first)


def foreign_winners(block: Block, engine: str, winners: Winners, threat: ThreatModel) -> Iterator[str]:
    """What is wrong with the inputs that were kept, given which samples are fooled."""
    fooled = block.fooled(engine)
    if not np.array_equal(winners.fooled, fooled):
        yield f"for {int(winners.fooled.sum())} samples; its attacks fool {int(fooled.sum())}"
        return
    if (winners.survived & ~fooled).any() or winners.moved[~fooled].any():
        yield "where nothing fools it"
    if not np.array_equal(winners.rows, np.flatnonzero(fooled)[:SHOWN]):
        yield f"of other samples than the first {SHOWN}"
        return
    width = threat.bounds[1] - threat.bounds[0]
    reach = farthest(threat) * width if threat.norm == "linf" else np.inf
    if not ((winners.moved >= 0) & (winners.moved <= reach)).all():
        yield "by changes beyond the radius"
    if winners.x_adv.size:
        (low, high), far = threat.bounds, threat.distance(winners.x_adv, winners.clean)
        inside = (winners.x_adv >= low).all() and (winners.x_adv <= high).all()
        if not (inside and (far <= farthest(threat)).all()):
            yield "from outside the ball"


def farthest(threat: ThreatModel) -> float:
    """The largest distance that a projected input may have, as a fraction of the width of the bounds."""
    share, absolute = ROUNDING
    return threat.eps * (1 + share) + absolute
