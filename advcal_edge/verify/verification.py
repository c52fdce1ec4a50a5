"""Attack reference and engines block by block, question the result, decide."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment
from advcal_edge.spec import Modality
from advcal_edge.verify.block import Block
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.checks import run_checks
from advcal_edge.verify.checks.drift import Drift
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.crafting import attack_block, attacks_per_block
from advcal_edge.verify.evidence import ROUTES, Evidence, broken, flips, gather, matrix
from advcal_edge.verify.examination import Examination, draw_curve, examine
from advcal_edge.verify.fitting import check_fit
from advcal_edge.verify.gallery import gallery
from advcal_edge.verify.gate import decide
from advcal_edge.verify.lineup import ENGINE, REFERENCE, Lineup, Player
from advcal_edge.verify.ranking import top_five
from advcal_edge.verify.report import Report
from advcal_edge.verify.retrieval import measure_retrieval
from advcal_edge.verify.samples import HeldOut
from advcal_edge.verify.shard import WHOLE, Shard
from advcal_edge.verify.state import State

MINIMUM = 8


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """One reference and any number of engines on the same samples; what was done is in `state`.

    Raises:
        ConfigError: too few samples, a margin outside (0, 1), or losses that need more classes.
        InputError: partners of another width than the centers.
    """

    lineup: Lineup
    modality: Modality
    samples: HeldOut
    budget: Budget
    margin: float
    state: State

    def __post_init__(self) -> None:
        if len(self.samples) < MINIMUM:
            raise ConfigError(
                f"found {len(self.samples)} samples; verification needs at least {MINIMUM}", hint="raise `--samples`"
            )
        if not 0 < self.margin < 1:
            raise ConfigError(f"`--margin` must lie between 0 and 1, a fraction of all samples: found {self.margin:g}")
        partner, width = self.samples.partner, self.lineup.reference.victim.centers.dim
        if partner is not None and partner.shape[1] != width:
            raise InputError(f"partners are {partner.shape}; expected ({len(partner)}, {width}) like the centers")
        self.budget.check(len(self.lineup.reference.victim.centers.labels))

    def run(self, progress: Progress = silent, shard: Shard = WHOLE) -> None:
        """Do what is not done yet: this shard's blocks, and in the first shard the examination of each engine.

        Raises:
            EngineError: an engine that does not fit, or a reference that returns NaN.
            BundleError: the state cannot be written.
        """
        self.lineup.check(self.samples.head(1).x)
        if shard.first:
            self._examine(progress)
        mine = shard.blocks(self.samples.count)
        waiting = {index for index in mine if not self.state.done(index)}
        each = attacks_per_block(self.lineup, self.samples, self.budget)
        done = each * (len(mine) - len(waiting))

        def tick() -> None:
            nonlocal done
            done += 1
            progress("attack", done, each * len(mine))

        for index, samples in self.samples.blocks(waiting):
            block = attack_block(self.lineup, samples, self.budget, self.modality, tick)
            self.state.keep(index, block)

    def missing(self) -> list[str]:
        """What no shard has done yet, in words; empty where reports can be made."""
        names = [f"the examination of {name}" for name in self.lineup.engines if self.state.note(name) is None]
        blocks = [index for index in range(self.samples.count) if not self.state.done(index)]
        listed = ", ".join(map(str, blocks[:8])) + (" ..." if len(blocks) > 8 else "")
        return names + ([f"{len(blocks)} of {self.samples.count} blocks ({listed})"] if blocks else [])

    def report(self, engine: str, *, context: Mapping[str, Any], hashes: Mapping[str, str | None]) -> Report:
        """Put the blocks together and decide about one engine.

        Raises:
            ConfigError: something is not done yet.
            BundleError: the state is damaged.
        """
        if self.missing():
            raise ConfigError(f"the run is not complete: {'; '.join(self.missing())} missing")
        player, centers = self.lineup.engines[engine], self.lineup.reference.victim.centers
        blocks = [block.without_arrays() for block in self._blocks()]  # inputs are read again when they are needed
        y = np.concatenate([block.y for block in blocks])
        rank = {side: np.concatenate([block.rank[name] for block in blocks]) for side, name in sides(engine).items()}
        right = {side: found == 0 for side, found in rank.items()}
        evidence = gather(blocks, engine)
        comparisons = compare(right[REFERENCE], right[ENGINE], evidence, self.margin)
        worst = comparisons[-1]
        first = repr(self.budget.first(self.samples.threat.norm))
        retrieval = measure_retrieval(self._blocks, engine, self.samples.partner, first)
        if retrieval is not None:
            comparisons += retrieval.comparisons(self.margin)
        examination = Examination.from_json(self.state.note(engine) or {})
        drift = Drift(*np.concatenate([block.drift[engine] for block in blocks], axis=1))
        winners = [block.winners[engine] for block in blocks]
        facts = {
            "evidence": evidence,
            "worst": worst,
            "drift": drift,
            "engine_info": player.info,
            "reference_info": self.lineup.reference.info,
            "modality": self.modality,
            **{slot: np.concatenate([getattr(w, slot) for w in winners]) for slot in ("fooled", "survived", "moved")},
        }
        checks = [*examination.checks, *run_checks("results", facts, self.margin)]
        verdict, reasons = decide(comparisons, checks)
        others = self.lineup.others(engine)
        return Report(
            verdict=verdict,
            reasons=reasons,
            engine=player.info,
            reference=self.lineup.reference.info,
            sources=[source(name, self.lineup.sources[name]) for name in others],
            threat=self.samples.threat.to_json(),
            budget=self.budget.to_json(),
            samples=len(self.samples),
            seed=self.samples.seed,
            margin=self.margin,
            expectation=player.calls,
            comparisons=comparisons,
            evidence=evidence,
            matrix=matrix(blocks, engine, others),
            curve=self._curve(examination),
            flips=flips(right, evidence, y, centers.labels),
            checks=checks,
            drift=drift,
            retrieval=retrieval,
            top5=top_five(rank[REFERENCE], rank[ENGINE], evidence, len(centers.labels)),
            rebuilds=None,
            hashes=hashes,
            gallery=gallery(player.victim, self.modality, self._blocks(), engine),
            context=context,
            environment=environment(),
            seconds=sum(block.seconds for block in blocks) + examination.seconds,
        )

    def _examine(self, progress: Progress) -> None:
        if self.state.note(REFERENCE) is None:
            curve = draw_curve(self.lineup.reference.victim, self.samples)
            self.state.write(REFERENCE, {"curve": None if curve is None else curve.to_json()})
        for done, (name, player) in enumerate(self.lineup.engines.items(), 1):
            if self.state.note(name) is None:
                started = time.perf_counter()
                found = examine(player.victim, self.samples)
                self.state.write(name, {**found.to_json(), "seconds": time.perf_counter() - started})
            progress("examine", done, len(self.lineup.engines))

    def _curve(self, examination: Examination) -> dict[str, Any] | None:
        """Accuracy against eps of both sides, where both have one."""
        reference = (self.state.note(REFERENCE) or {}).get("curve")
        if reference is None or examination.curve is None:
            return None
        return {REFERENCE: reference, ENGINE: examination.curve}

    def _blocks(self) -> Iterator[Block]:
        for index in range(self.samples.count):
            block = self.state.block(index)
            if block is not None:
                shape, where = self.modality.input.shape, f"`{self.state.folder}`"
                check_fit(block, index, self.lineup, self.samples, shape, where)
                yield block


def sides(engine: str) -> dict[str, str]:
    """The two sides of a report and who stands on them."""
    return {REFERENCE: REFERENCE, ENGINE: engine}


def source(name: str, player: Player) -> dict[str, Any]:
    """What a report says of somebody who lent inputs."""
    return {"name": name, "kind": player.info.get("kind", "engine"), "fingerprint": player.victim.runner.fingerprint}


def compare(
    right_reference: NDArray[np.bool_], right_engine: NDArray[np.bool_], evidence: Sequence[Evidence], margin: float
) -> list[Comparison]:
    """Clean, each route, and last the worst case per sample over everything crafted on either side."""
    comparisons = [Comparison("clean", right_reference, right_engine, margin, decides=True)]

    def after(name: str, items: Sequence[Evidence], decides: bool) -> Comparison:
        n = len(right_reference)
        reference = right_reference & ~broken(items, REFERENCE, n)
        return Comparison(name, reference, right_engine & ~broken(items, ENGINE, n), margin, decides)

    for name in ROUTES:
        items = [item for item in evidence if item.route == name]
        if items:
            comparisons.append(after(name, items, decides=False))
    return [*comparisons, after("worst case", evidence, decides=True)]
