"""Attack reference and engines block by block, and collect the measurements into one report per engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from advcal_edge.attacks import AttackedModel
from advcal_edge.errors import BundleError, ConfigError, InputError
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment
from advcal_edge.report.raised import NOTHING_RAISED
from advcal_edge.report.results import Drift
from advcal_edge.report.value import Value
from advcal_edge.sequential import LOOK
from advcal_edge.spec import Modality
from advcal_edge.stats import LEVEL
from advcal_edge.storage import canonical, sha256_bytes
from advcal_edge.verify.block import FIRST, Attempt, Block
from advcal_edge.verify.bookkeeping import unsound
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.calibrated import attack_as_stated
from advcal_edge.verify.crafting import attack_block, attacks_per_block
from advcal_edge.verify.elsewhere import COUNT
from advcal_edge.verify.engine_checks import EngineChecks, check_engine, draw_curve, read_curve
from advcal_edge.verify.model_set import ENGINE, REFERENCE, ModelSet
from advcal_edge.verify.report import Report
from advcal_edge.verify.results import (
    check_rounding,
    gallery,
    gather_attacks,
    gather_clean,
    measure_neighbours,
    measure_retrieval,
)
from advcal_edge.verify.samples import BLOCK, HeldOut, Samples
from advcal_edge.verify.shard import WHOLE, Shard
from advcal_edge.verify.standing import Part, Standing
from advcal_edge.verify.state import State

MINIMUM = 8
Stand = Callable[[Sequence[Standing]], None]
"""Called with where each engine stands, at the start and after every block."""


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """One reference and any number of engines on the same samples; completed work is in `state`.

    Raises:
        ConfigError: too few samples, margins outside (0, 1), or losses that need more classes.
        InputError: partners of another width than the centers.
    """

    models: ModelSet
    modality: Modality
    samples: HeldOut
    budget: Budget
    margin: float
    state: State
    calibration: Mapping[str, Any] | None = None
    """What the bundle states of the calibrated model, see `stated_figures`; None if nothing was calibrated."""
    class_margin: float | None = None
    """The largest drop allowed in any class; None if classes do not decide."""
    sequential: bool = False
    """Stop after the block that decides."""
    levels: Mapping[str, float] = field(default_factory=dict)
    """Per engine the probability of a false pass that earlier runs have left; `LEVEL` for one that is not named."""

    def __post_init__(self) -> None:
        if len(self.samples) < MINIMUM:
            raise ConfigError(
                f"found {len(self.samples)} samples; verification needs at least {MINIMUM}", hint="raise `--samples`"
            )
        if not 0 < self.margin < 1:
            raise ConfigError(f"`--margin` must lie between 0 and 1, a fraction of all samples: found {self.margin:g}")
        if self.class_margin is not None and not 0 < self.class_margin < 1:
            raise ConfigError(
                "`--per-class-margin` must lie between 0 and 1, a fraction of each class's samples:"
                f" found {self.class_margin:g}"
            )
        partner, width = self.samples.partner, self.models.reference.centers.dim
        if partner is not None and partner.shape[1] != width:
            raise InputError(f"partners are {partner.shape}; expected ({len(partner)}, {width}) like the centers")
        self.budget.check(len(self.models.reference.centers.labels))

    def run(
        self,
        progress: Progress = silent,
        shard: Shard = WHOLE,
        stand: Stand = lambda standings: None,
    ) -> None:
        """Do the remaining work: this shard's blocks, and in the first shard the checks of each engine alone.

        A sequential run ends with the first block after which every engine has passed or failed.

        Raises:
            EngineError: an engine that does not fit, or a reference that returns NaN.
            BundleError: the state cannot be written.
        """
        self.models.check(self.samples.head(1).x)
        if shard.first:
            self._check_engines(progress)
        mine = shard.blocks(self.samples.count)
        standings = self.standings()
        waiting = self.waiting(mine, standings)
        stand([*standings.values()])
        each = attacks_per_block(self.models, self.samples, self.budget)
        done = each * (len(mine) - len(waiting))

        def tick() -> None:
            nonlocal done
            done += 1
            progress("attack", done, each * len(mine))

        for index, samples in self.samples.blocks(waiting):
            if self.sequential and all(standing.settled for standing in standings.values()):
                break
            self.keep(index, self.attack(samples, tick), standings)
            stand([*standings.values()])

    def attack(self, samples: Samples, tick: Callable[[], None] = lambda: None) -> Block:
        """Attack one block of the samples; nothing is kept.

        Raises:
            EngineError: a reference that returns NaN.
        """
        return attack_block(self.models, samples, self.budget, self.modality, tick)

    def measure(self, name: str) -> dict[str, Any]:
        """The note on the reference, or on one engine alone with its checks; nothing is kept."""
        if name == REFERENCE:
            curve = draw_curve(self.models.reference, self.samples)
            note: dict[str, Any] = {"curve": None if curve is None else curve.to_json()}
            if self.calibration is not None:
                note["attacked"] = attack_as_stated(self.models.reference, self.samples, self.calibration)
            return note
        started = time.perf_counter()
        measured = check_engine(
            self.models.engines[name], self.samples, self.models.reference, self.modality.input
        ).to_json()
        return {**measured, "seconds": time.perf_counter() - started, "used": self._used}

    def unmeasured(self) -> list[str]:
        """Names of the reference and of the engines on which no note is there, or one on fewer samples."""
        names = [] if self.state.note(REFERENCE) is not None else [REFERENCE]
        return names + [name for name in self.models.engines if (self.state.note(name) or {}).get("used") != self._used]

    def waiting(self, mine: Iterable[int], standings: Mapping[str, Standing]) -> set[int]:
        """Those of the blocks `mine` that are yet to be attacked; the others are counted.

        Raises:
            BundleError: a block that is damaged, or that this run did not write.
        """
        waiting = set[int]()
        for index in mine:
            block = self._stored(index)
            if block is None or (self.sequential and waiting):  # looks follow the order of the samples
                waiting.add(index)
            else:
                self._add(standings, block)
        return waiting

    def keep(self, index: int, block: Block, standings: Mapping[str, Standing]) -> None:
        """Write a block that is done, and count it.

        Raises:
            BundleError: the state cannot be written.
        """
        self.state.keep(index, block)
        self._add(standings, block)

    def missing(self) -> list[str]:
        """Work that no shard has done yet, as text; empty when reports can be made."""
        names = [f"the checks of {name}" for name in self.models.engines if self.state.note(name) is None]
        wanted = 1 if self.sequential else self.samples.count  # a sequential run may be looked at after any block
        blocks = [index for index in range(wanted) if not self.state.done(index)]
        listed = ", ".join(map(str, blocks[:8])) + (" ..." if len(blocks) > 8 else "")
        return names + ([f"{len(blocks)} of {self.samples.count} blocks ({listed})"] if blocks else [])

    def finished(self) -> Sequence[int]:
        """Indices of the blocks that reports are made of: of a sequential run those up to the first that is missing."""
        everything = range(self.samples.count)
        return (
            list(takewhile(lambda index: self._stored(index) is not None, everything))
            if self.sequential
            else everything
        )

    def report(self, engine: str, *, context: Mapping[str, Any], hashes: Mapping[str, str | None]) -> Report:
        """Collect the blocks into the measurements of one engine.

        Raises:
            ConfigError: the run is not complete.
            BundleError: the state is damaged.
        """
        if self.missing():
            raise ConfigError(f"the run is not complete: {'; '.join(self.missing())} missing")
        model, centers = self.models.engines[engine], self.models.reference.centers
        blocks = [block.without_arrays() for block in self._blocks()]  # inputs are read again when needed
        others = self.models.others(engine)
        own = EngineChecks.from_json(self.state.note(engine) or {})
        reference = read_curve(Value(self.state.note(REFERENCE) or {}, "reference"))
        checks = [*own.checks, check_rounding(blocks, engine, self.modality)]
        first = repr(self.budget.first(self.samples.threat.norm))
        retrieval = measure_retrieval(self._blocks, engine, self.samples.partner, first)
        drift = Drift(*np.concatenate([block.drift[engine] for block in blocks], axis=1))
        distances = [block.anchored for block in blocks if block.anchored is not None]
        about = environment()
        measured: dict[str, Any] = {
            "engine": dict(model.info),
            "reference": dict(self.models.reference.info),
            "sources": [source(name, self.models.sources[name]) for name in others],
            "threat": self.samples.threat.to_json(),
            "budget": self.budget.to_json(),
            "seed": self.samples.seed,
            "margin": self.margin,
            "expectation": model.calls,  # calls averaged per query; 1 for a deterministic engine
            "labels": list(centers.labels),
            "truth": np.concatenate([block.y for block in blocks]).tolist(),
            "clean": {name: rank.tolist() for name, rank in gather_clean(blocks, engine, others).items()},
            "attacks": [item.to_json() for item in gather_attacks(blocks, engine, others)],
            "drift": drift.to_json(),
            "neighbours": measure_neighbours(self._blocks, engine).tolist(),
            "anchor": np.concatenate(distances).tolist() if len(distances) == len(blocks) else None,
            "calibration": self._calibration(),
            "checks": {check.name: dict(check.raw) for check in checks},
            "hashes": {**hashes, "environment": sha256_bytes(canonical(about))},
            "gallery": gallery(model, self.modality, self._blocks(), engine),
            "context": dict(context),
            "environment": dict(about),
            "seconds": round(sum(block.seconds for block in blocks) + own.seconds, 2),
        }
        if self.sequential:
            measured["sequential"] = {"every": LOOK, "at_most": len(self.samples)}
        if self.class_margin is not None:
            measured["per_class_margin"] = self.class_margin
        if reference is not None and own.curve is not None:
            measured["curve"] = {REFERENCE: reference.to_json(), ENGINE: own.curve.to_json()}
        if retrieval is not None:
            measured["retrieval"] = retrieval.to_json()
        raised = sum((block.raised.get(engine, NOTHING_RAISED) for block in blocks), own.raised)
        if raised.calls:
            measured["raised"] = raised.to_json()
        return Report(measured)

    @property
    def _used(self) -> int:
        """Samples that checks may use; of a sequential run that is extended, they may want more."""
        return min(len(self.samples), COUNT)

    def _check_engines(self, progress: Progress) -> None:
        waiting = self.unmeasured()
        if REFERENCE in waiting:
            self.state.write(REFERENCE, self.measure(REFERENCE))
        progress("check", 0, len(self.models.engines))
        for done, name in enumerate(self.models.engines, 1):
            if name in waiting:
                self.state.write(name, self.measure(name))
            progress("check", done, len(self.models.engines))

    def block(self, index: int) -> Block:
        """A block that is done and can come from this run.

        Raises:
            BundleError: damaged, or written by something else than this run.
        """
        block = self._stored(index)
        if block is None:
            raise BundleError(
                f"block {index} of `{self.state.folder}` is gone", hint="run again; what is there is kept"
            )
        return block

    def _stored(self, index: int) -> Block | None:
        block = self.state.block(index)
        if block is not None and self.sequential and len(block) != size_of(index, self.samples):
            return None  # the last one of a run that was shorter
        if block is not None:
            self.check(index, block)
        return block

    def check(self, index: int, block: Block) -> None:
        """Refuse a block that cannot come from this run.

        Raises:
            BundleError: other samples, models or attacks than those of the run, or results that it cannot have.
        """
        where = f"`{self.state.folder}`"
        check_fit(block, index, self.models, self.samples, self.modality.input.shape, where)
        for words in unsound(block, self.models, self.samples, self.budget, self.modality):
            raise BundleError(
                f"block {index} of {where} {words}; expected one of this run",
                hint=f"remove {where} and run again: something else wrote into it",
            )

    def standings(self) -> dict[str, Standing]:
        """Where each engine stands before any block is counted."""
        standings = {
            name: Standing(name, self.margin, self.sequential, self.levels.get(name, LEVEL))
            for name in self.models.engines
        }
        for name, standing in standings.items():
            if (note := self.state.note(name)) is not None:
                standing.judge(EngineChecks.from_json(note).checks)
        return standings

    def _add(self, standings: Mapping[str, Standing], block: Block) -> None:
        first = repr(self.budget.first(self.samples.threat.norm))
        for name, standing in standings.items():
            retrieval = measure_retrieval(lambda: iter([block]), name, self.samples.partner, first)
            standing.add(Part(gather_clean([block], name, ()), gather_attacks([block], name, ()), retrieval))

    def _calibration(self) -> dict[str, Any] | None:
        if self.calibration is None:
            return None
        return {**self.calibration, "attacked": (self.state.note(REFERENCE) or {}).get("attacked")}

    def _blocks(self) -> Iterator[Block]:
        for index in range(self.samples.count):
            block = self._stored(index)
            if block is not None:
                yield block
            elif self.sequential:
                return


def source(name: str, model: AttackedModel) -> dict[str, Any]:
    """The report's entry for a model whose inputs were tried."""
    return {"name": name, "kind": model.info.get("kind", "engine"), "fingerprint": model.runner.fingerprint}


Shape = tuple[int, ...]


def check_fit(block: Block, index: int, models: ModelSet, samples: HeldOut, shape: Shape, where: str) -> None:
    """Refuse a valid block that cannot come from this run; `shape` is that of one input.

    Raises:
        BundleError: other samples, models or attacks than those of the run; the message begins with `where`.
    """
    for misfit in misfits(block, index, models, samples, shape):
        raise BundleError(
            f"block {index} of {where} {misfit}; expected one of this run",
            hint=f"remove {where} and run again: other samples, engines or sources took part",
        )


def misfits(block: Block, index: int, models: ModelSet, samples: HeldOut, shape: Shape) -> Iterator[str]:
    """Describe what does not fit."""
    classes = len(models.reference.centers.labels)
    n = size_of(index, samples)
    if (block.first, len(block)) != (index * BLOCK, n):
        yield f"holds {len(block)} samples from {block.first} on, not {n} from {index * BLOCK} on"
        return
    everything, engines = set(models.all), set(models.engines)
    missing = (everything - block.rank.keys()) | (engines - block.drift.keys()) | (engines - block.winners.keys())
    if missing:
        yield f"knows nothing of {', '.join(sorted(missing))}"
    ranks = [block.y, *block.rank.values(), *(rank for attempt in block.attempts for rank in attempt.rank.values())]
    if any(rank.size and not 0 <= rank.min() <= rank.max() < classes for rank in ranks):
        yield f"has labels or ranks beyond {classes} classes"
    for attempt in block.attempts:
        if unheard := judges_of(attempt, models) - attempt.rank.keys():
            yield f"has an attack by {attempt.crafted_on} that {', '.join(sorted(unheard))} did not judge"
    if any(winners.rows.size and winners.clean.shape[1:] != shape for winners in block.winners.values()):
        yield f"has pictures of another shape than {shape}"
    if (block.anchored is None) is not (samples.read_anchor is None):
        yield f"has {'no' if block.anchored is None else 'a'} distance of the reference from stored embeddings"
    width = models.reference.centers.dim
    kept = dict.fromkeys(embeddings_of(models, samples), (n, width))
    if {name: z.shape for name, z in block.embeddings.items()} != kept:
        yield f"has other embeddings than {', '.join(kept) or 'none'}"


def size_of(index: int, samples: HeldOut) -> int:
    """Number of samples of a block."""
    return min(BLOCK, len(samples) - index * BLOCK)


def judges_of(attempt: Attempt, models: ModelSet) -> set[str]:
    """Names of the models that must have judged an attack for the reports that include it."""
    side = set(models.engines) if attempt.aimed_at is None else {attempt.aimed_at}
    return {REFERENCE, *side, *(models.sources if attempt.route == FIRST else ())}


def embeddings_of(models: ModelSet, samples: HeldOut) -> list[str]:
    """Names of the embeddings that a block keeps, see `Block`."""
    names = [f"clean@{judge}" for judge in models.judges]
    if samples.partner is None or len(samples.partner) < 2:
        return names
    for side in models.judges:
        if models.all[side].gradient is not None:
            names += [f"{side}@{judge}" for judge in (models.judges if side == REFERENCE else (REFERENCE, side))]
    return names
