"""Attack reference and engines block by block, and collect the measurements into one report per engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from advcal_edge.errors import BundleError, ConfigError, InputError
from advcal_edge.progress import Progress, silent
from advcal_edge.report.selective import ALPHA
from advcal_edge.spec import Modality
from advcal_edge.stats import LEVEL
from advcal_edge.verify.block import Block
from advcal_edge.verify.bookkeeping import unsound
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.calibrated import attack_as_stated
from advcal_edge.verify.crafting import attack_block, attacks_per_block
from advcal_edge.verify.elsewhere import COUNT
from advcal_edge.verify.engine_checks import EngineChecks, check_engine, draw_curve
from advcal_edge.verify.fit import check_fit, size_of
from advcal_edge.verify.model_set import REFERENCE, ModelSet
from advcal_edge.verify.results import (
    gather_attacks,
    gather_clean,
    measure_retrieval,
)
from advcal_edge.verify.samples import HeldOut, Samples
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
    alpha: float = ALPHA
    """The largest share of wrong answers among those that an engine may accept."""

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
        if not 0 < self.alpha < 1:
            raise ConfigError(
                f"`--alpha` must lie between 0 and 1, a fraction of the accepted answers: found {self.alpha:g}"
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
        each = attacks_per_block(self.models, self.samples, self.budget, abstention=self.abstention)
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
        return attack_block(self.models, samples, self.budget, self.modality, tick, abstention=self.abstention)

    @property
    def abstention(self) -> bool:
        """Is a rule looked for? Its bound needs a number of samples that is fixed beforehand, which a stop is not."""
        return not self.sequential

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
        for words in unsound(block, self.models, self.samples, self.budget, self.modality, abstention=self.abstention):
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

    def blocks(self) -> Iterator[Block]:
        """Those that reports are made of, read one by one.

        Raises:
            BundleError: damaged, or written by something else than this run.
        """
        for index in range(self.samples.count):
            block = self._stored(index)
            if block is not None:
                yield block
            elif self.sequential:
                return
