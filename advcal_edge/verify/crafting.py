"""Attack a block of samples on reference and engines; both judge every input, whichever model it was crafted on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from advcal_edge.anchor import distances
from advcal_edge.attacks import Attack, AttackedModel, AttackOutcome, Route, difference_model, run_attack
from advcal_edge.attacks.base import never
from advcal_edge.errors import EngineError
from advcal_edge.retrieval import Rank, gallery, label_rank
from advcal_edge.spec import Modality
from advcal_edge.verify.answers import Answers
from advcal_edge.verify.block import FIRST, Attempt, Block, Bools, Sureness, Winners
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.checks.comparison import measure_drift, round_to_grid
from advcal_edge.verify.model_set import REFERENCE, ModelSet, embed, predict, wrap_attack
from advcal_edge.verify.recorder import take_raised
from advcal_edge.verify.samples import HeldOut, Samples
from advcal_edge.verify.second_look import Judged, look_again

SHOWN = 6  # inputs shown on a page
Tick = Callable[[], None]
"""Called after every attack on a block."""


def attack_block(
    models: ModelSet, samples: Samples, budget: Budget, modality: Modality, tick: Tick, *, abstention: bool = False
) -> Block:
    """Attack reference and engines on every route, and return the results.

    Both sides get the same effort: every attack on an engine also runs on the reference, and both judge its inputs.
    With `abstention`, the rule by which an engine may abstain is attacked too, which enters no comparison.

    Raises:
        EngineError: the reference returns NaN, so engines cannot be compared with it.
    """
    started = time.perf_counter()
    take_raised(models.engines)  # what came before this block is counted elsewhere
    z = {name: embed(model, samples.x) for name, model in models.all.items()}
    if not np.isfinite(z[REFERENCE]).all():
        raise EngineError(
            "the reference returns NaN or infinite embeddings; there is nothing to hold an engine against"
        )
    centers = models.reference.centers
    rank = {name: label_rank(centers, embedding, samples.y) for name, embedding in z.items()}
    crafting = Crafting(models, samples, budget, tick, rank)
    for name in models.engines if abstention else ():
        crafting.answers[name] = Answers.before(centers.margins(z[name]), rank[name] > 0)
    crafting.first()
    crafting.on_reference()
    for engine in models.engines:
        crafting.on_engine(engine)
    for engine in models.engines:
        crafting.look_again(engine, modality)
    for engine in crafting.answers:
        crafting.on_rule(engine)
    answers = {name: Sureness(found.stacked(), found.queries) for name, found in crafting.answers.items()}
    drift = {engine: measure_drift(z[REFERENCE], z[engine], centers).stacked() for engine in models.engines}
    winners = {engine: crafting.winners(engine, modality) for engine in models.engines}
    embeddings = crafting.mismatches(z)
    anchored = None if samples.anchor is None else distances(z[REFERENCE], samples.anchor)
    seconds, raised = time.perf_counter() - started, take_raised(models.engines)
    return Block(
        samples.first,
        samples.y,
        rank,
        crafting.attempts,
        drift,
        winners,
        embeddings,
        seconds,
        raised,
        anchored,
        answers,
    )


def attacks_per_block(models: ModelSet, samples: HeldOut, budget: Budget, *, abstention: bool = False) -> int:
    """Number of ticks of `attack_block`."""
    classes, norm = len(models.reference.centers.labels), samples.threat.norm
    count = {route: len(budget.attacks(route, norm, classes)) for route in get_args(Route)}
    seeing = count["gradient"] + (samples.partner is not None)
    whites = [model for model in (models.reference, *models.engines.values()) if model.gradient is not None]
    firsts = sum(model.gradient is not None for model in models.all.values())
    sides = 1 + len(models.engines)
    differences = 2 * sum(map(models.has_difference, models.engines))
    blind = count["black box"] + count["label only"]
    looks = len(models.engines)
    seen = sum(model.gradient is not None for model in models.engines.values())
    aimed = abstention * (count["abstention"] * seen + count["abstention by scores"] * len(models.engines))
    return aimed + firsts + seeing * len(whites) + blind * sides + count["difference"] * differences + looks


def attack_rows(route: str, attack: Attack, model: AttackedModel, samples: Samples, rows: Bools) -> AttackOutcome:
    """Attack the samples at `rows` (n,), of which there is at least one, with the random stream of their block."""
    return run_attack(
        attack,
        model,
        samples.x[rows],
        samples.y[rows],
        samples.threat,
        route=route,
        seed=samples.seed,
        stream=samples.first,
    )


@dataclass(slots=True)
class Crafting:
    """A block under attack: attempts so far, and the first input per sample that fools each engine."""

    models: ModelSet
    samples: Samples
    budget: Budget
    tick: Tick
    rank: dict[str, Rank]
    attempts: list[Attempt] = field(default_factory=list)
    found: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    fooled: dict[str, Bools] = field(default_factory=dict)
    latest: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Per model the last inputs (n, ...) crafted on it: later attacks meet only samples that withstood the earlier."""
    answers: dict[str, Answers] = field(default_factory=dict)
    """Per engine how sure it was, where that is asked for."""

    def first(self) -> None:
        """Run the first attack on every model, and have every relevant model judge the inputs."""
        everybody, few = list(self.models.all), [REFERENCE, *self.models.sources]
        attack = self.budget.first(self.samples.threat.norm)
        for name, model in self.models.all.items():
            if model.gradient is not None:
                aimed_at = name if name in self.models.engines and name not in self.models.sources else None
                judges = everybody if aimed_at is None else [*few, name]
                self.craft(FIRST, attack, name, self.right(name), aimed_at, judges)

    def on_reference(self) -> None:
        """Run the attacks that the engines get too; stronger attacks only on samples that withstood earlier ones."""
        judges = self.models.judges
        if self.models.reference.gradient is not None:
            for attack in self.attacks("gradient"):
                self.craft("transfer", attack, REFERENCE, self.standing(REFERENCE, None), None, judges)
        for attack in self.attacks("black box"):
            self.craft("black box", attack, REFERENCE, self.right(REFERENCE), None, judges)
        for attack in self.attacks("label only"):
            self.craft("label only", attack, REFERENCE, self.standing(REFERENCE, None), None, judges)

    def on_engine(self, engine: str) -> None:
        """Run white-box attacks (engine forward, exported backward), difference attacks from either side, black boxes.

        The black box attacks every sample the engine gets right, even if another attack already fooled it: otherwise
        misleading gradients could hide behind a strong transfer.
        """
        judges, model = [REFERENCE, engine], self.models.engines[engine]
        if model.gradient is not None:
            for attack in self.attacks("gradient"):
                self.craft("gradient", attack, engine, self.standing(engine, engine), engine, judges)
        if self.models.has_difference(engine):
            reference = self.models.reference
            for side, wrong, right in ((engine, model, reference), (REFERENCE, reference, model)):
                pair = difference_model(wrong, right)
                for attack in self.attacks("difference"):
                    both = self.right(REFERENCE, engine) & self.standing(side, engine)
                    self.craft("difference", attack, side, both, engine, judges, pair)
        for attack in self.attacks("black box"):
            self.craft("black box", attack, engine, self.right(engine), engine, judges)
        for attack in self.attacks("label only"):
            self.craft("label only", attack, engine, self.standing(engine, engine), engine, judges)

    def craft(
        self,
        route: str,
        attack: Attack,
        crafted_on: str,
        attacked: Bools,
        aimed_at: str | None,
        judges: list[str],
        pair: AttackedModel | None = None,
    ) -> None:
        """Run one attack on the samples `attacked` (n,) and judge the result."""
        model = pair or self.models.all[crafted_on]
        x_adv, fools, queries = self.run(route, wrap_attack(attack, model), model, self.samples, attacked)
        z = {judge: embed(self.models.all[judge], x_adv[attacked]) for judge in judges if attacked.any()}
        ranks = {judge: self.judge(judge, z.get(judge), attacked) for judge in judges}
        # the attacked model's own answer is known; in other batches a quantised engine may answer slightly differently
        own = ranks[crafted_on]
        ranks[crafted_on] = np.where(fools, np.maximum(own, 1), own if pair else 0)
        self.attempts.append(Attempt(route, repr(attack), crafted_on, aimed_at, attacked, queries, ranks))
        if pair is None and (model.gradient is None or route not in ("black box", "label only")):
            self.latest.setdefault(crafted_on, self.samples.x.copy())[attacked] = x_adv[attacked]
        for engine in self.models.engines:
            if engine in ranks and aimed_at in (None, engine):
                self.remember(engine, x_adv, ranks[engine] > 0)
                if engine in self.answers and engine in z:
                    margins = np.zeros(len(self.samples))
                    margins[attacked] = self.models.engines[engine].centers.margins(z[engine])
                    self.answers[engine].see(attacked, margins, ranks[engine] > 0)

    def on_rule(self, engine: str) -> None:
        """Attack the rule by which an engine may abstain: on every sample, after answers that are wrong and sure.

        An attack does not stop at the first wrong label, since the next may be a surer one.
        """
        model, everything = self.models.engines[engine], np.ones(len(self.samples), np.bool_)
        restless = replace(model, criterion=never)
        attacks = self.attacks("abstention") if model.gradient is not None else []
        for attack in [*attacks, *self.attacks("abstention by scores")]:
            x_adv, _, queries = self.run(
                "abstention", wrap_attack(attack, restless), restless, self.samples, everything
            )
            z = embed(model, x_adv)
            wrong = label_rank(model.centers, z, self.samples.y) > 0
            self.answers[engine].aim(repr(attack), int(queries.sum()), model.centers.margins(z), wrong)

    def look_again(self, engine: str, modality: Modality) -> None:
        """Have the reference and an engine judge inputs again that were crafted on either, see `second_look`."""
        right = self.right(REFERENCE, engine)

        def judged(x: NDArray[np.float32], found: Mapping[str, Judged]) -> None:
            rank = found[engine].rank
            self.remember(engine, x, rank > 0)
            if engine in self.answers:
                self.answers[engine].see(right, found[engine].margins, rank > 0)

        again = look_again(self.models, engine, self.samples, right, self.latest, modality, judged)
        self.attempts.extend(again)
        self.tick()

    def run(
        self, route: str, attack: Attack, model: AttackedModel, samples: Samples, attacked: Bools
    ) -> tuple[NDArray[np.float32], Bools, NDArray[np.int64]]:
        """Inputs (n, ...), whether (n,) they fool the model, and queries (n,); rows not attacked stay clean."""
        x_adv, queries = samples.x.copy(), np.zeros(len(samples), np.int64)
        fools = np.zeros(len(samples), np.bool_)
        if attacked.any():
            outcome = attack_rows(route, attack, model, samples, attacked)
            x_adv[attacked], queries[attacked], fools[attacked] = outcome.x_adv, outcome.queries, outcome.success
        self.tick()
        return x_adv, fools, queries

    def judge(self, judge: str, z: NDArray[np.float32] | None, attacked: Bools) -> Rank:
        """Ranks (n,) of the true labels of the attacked rows, whose embeddings are z (m, d), 0 elsewhere."""
        rank = np.zeros(len(self.samples), np.int64)
        if z is not None:
            rank[attacked] = label_rank(self.models.all[judge].centers, z, self.samples.y[attacked])
        return rank

    def right(self, *names: str) -> Bools:
        """Where (n,) all of these models are right on clean input."""
        flags: Bools = np.logical_and.reduce([self.rank[name] == 0 for name in names])
        return flags

    def standing(self, side: str, engine: str | None) -> Bools:
        """Where (n,) `side` has withstood all attacks in the report of `engine` so far, or those in all reports."""
        flags = self.right(side)
        for attempt in self.attempts:
            if attempt.aimed_at in (None, engine):
                flags &= attempt.rank[side] == 0
        return flags

    def attacks(self, route: Route) -> list[Attack]:
        """The attacks of the budget for a route."""
        classes = len(self.models.reference.centers.labels)
        return self.budget.attacks(route, self.samples.threat.norm, classes)

    def remember(self, engine: str, x_adv: NDArray[np.float32], fools: Bools) -> None:
        """Keep the first input per sample that fools `engine`."""
        kept = self.found.setdefault(engine, self.samples.x.copy())
        fooled = self.fooled.setdefault(engine, np.zeros(len(self.samples), np.bool_))
        new = fools & ~fooled
        kept[new] = x_adv[new]
        fooled |= new

    def winners(self, engine: str, modality: Modality) -> Winners:
        """Inputs that fool `engine`: whether they survive the sensor's grid, and a few to show."""
        x, y, model = self.samples.x, self.samples.y, self.models.engines[engine]
        x_adv = self.found.get(engine, x)
        fooled = self.fooled.get(engine, np.zeros(len(y), np.bool_))
        survived = np.zeros(len(y), np.bool_)
        if fooled.any():
            rounded = self.samples.threat.project(round_to_grid(x_adv[fooled], modality), x[fooled])
            survived[fooled] = predict(model, rounded) != y[fooled]
        moved = np.abs(x_adv - x).reshape(len(x), -1).mean(axis=1)
        rows = np.flatnonzero(fooled)[:SHOWN]
        return Winners(fooled, survived, moved, rows, x[rows], x_adv[rows])

    def mismatches(self, z: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Craft inputs that miss their partner: attack the classification of each sample with all partners as centers.

        Every sample is attacked, whether or not it finds its partner: recall@5 and recall@10 count later places too.
        Only the clean ones without pairs. Returns embeddings by `SET@JUDGE`, see `Block`.
        """
        judges = self.models.judges
        kept = {f"clean@{judge}": z[judge] for judge in judges}
        if self.samples.partner is None or len(self.samples.partner) < 2:
            return kept
        centers, pairs = gallery(self.samples.partner), replace(self.samples, y=self.samples.own)
        for crafted_on in judges:
            model = self.models.all[crafted_on]
            if model.gradient is None:
                continue
            seeker = replace(model, centers=centers)
            everything = np.ones(len(pairs), np.bool_)
            attack = wrap_attack(self.budget.first(self.samples.threat.norm), seeker)
            x_adv, _, _ = self.run("retrieval", attack, seeker, pairs, everything)
            for judge in judges if crafted_on == REFERENCE else (REFERENCE, crafted_on):
                kept[f"{crafted_on}@{judge}"] = embed(self.models.all[judge], x_adv)
        return kept
