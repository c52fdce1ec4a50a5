"""Where the verdict on an engine stands while a run goes on: flips so far, and whether a sequential run may stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from advcal_edge.report.checks import Check
from advcal_edge.report.derive import pairs
from advcal_edge.report.results import AttackResult, Flags, Retrieval
from advcal_edge.retrieval import Rank
from advcal_edge.sequential import Decision, Tally
from advcal_edge.stats import LEVEL, tango


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Results of one block on an engine, as far as comparisons need them."""

    clean: Mapping[str, Rank]
    attacks: Sequence[AttackResult]
    retrieval: Retrieval | None

    def right(self, model: str) -> Flags:
        """Where (n,) the model is right on clean inputs."""
        right: Flags = self.clean[model] == 0
        return right


@dataclass(slots=True, eq=False)
class Standing:
    """The deciding comparisons of one engine over the blocks that are done."""

    engine: str
    margin: float
    sequential: bool
    level: float = LEVEL
    broken: Sequence[str] = ()
    """Required checks that failed on the engine alone."""
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Count the next block."""
        for name, reference, engine, decides in pairs(part):
            if decides:
                self.tallies.setdefault(name, Tally(self.margin, self.level)).add(reference, engine)

    def judge(self, checks: Sequence[Check]) -> None:
        """Note the required checks that failed."""
        self.broken = [check.name for check in checks if check.required and check.status == "fail"]

    @property
    def samples(self) -> int:
        """Number of samples so far."""
        return next((tally.n for tally in self.tallies.values()), 0)

    @property
    def verdict(self) -> Decision:
        """What the samples say so far: of a fixed number of them it is a forecast and decides nothing."""
        verdicts = {self.decide(tally) for tally in self.tallies.values()}
        if self.broken or "fail" in verdicts:
            return "fail"
        return "pass" if verdicts == {"pass"} else "inconclusive"

    @property
    def settled(self) -> bool:
        """May a sequential run stop, as far as this engine goes? A report needs some samples in any case."""
        return bool(self.tallies) and self.verdict != "inconclusive"

    def decide(self, tally: Tally) -> Decision:
        """The verdict of one comparison."""
        if self.sequential:
            return tally.verdict
        interval = tango(tally.lost, tally.gained, tally.n, 1 - 2 * self.level)
        if interval.high < self.margin:
            return "pass"
        return "fail" if interval.low > self.margin else "inconclusive"

    def __str__(self) -> str:
        if self.broken:
            return f"{self.engine}: check {self.broken[0]} failed"
        if not self.tallies:
            return ""
        worst = self.tallies["worst case"]
        text = f"{self.engine}: {worst.n} samples, {worst.lost} lost, {worst.gained} gained"
        if self.sequential:
            told = "open" if self.verdict == "inconclusive" else self.verdict
            weakest = min(tally.passing for tally in self.tallies.values())
            return f"{text}, evidence {10 ** min(weakest, 9):.3g} of {1 / self.level:.0f}, {told}"
        drop, confidence = 100 * (worst.lost - worst.gained) / worst.n, 1 - 2 * self.level
        low, high = (100 * end for end in tango(worst.lost, worst.gained, worst.n, confidence).to_json())
        return f"{text}, drop {drop:.1f} [{low:.1f}, {high:.1f}], {self.verdict} so far"
