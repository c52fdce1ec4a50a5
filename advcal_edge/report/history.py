"""Earlier runs on the same engine, and what they cost: trying until one passes must not make a pass more likely.

A fixed number of samples is one look, with an error of `LEVEL` for one test only. The first test keeps it. Test k,
after k - 1 that did not pass, is held to LEVEL / (k (k - 1)). These add up to LEVEL, so all tests of an engine together
pass it wrongly with a probability of at most twice LEVEL, however many there are. All looks at a sequential test are
one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from advcal_edge.report.value import Value
from advcal_edge.stats import LEVEL

VERDICTS = ("pass", "fail", "inconclusive")


def level_of(number: int) -> float:
    """The largest probability of a false pass of the test with this number, counted from one."""
    return LEVEL if number == 1 else LEVEL / (number * (number - 1))


def attacks_text(budget: Mapping[str, Any]) -> str:
    """A budget and its losses, like `quick: ce, margin`."""
    return f"{budget['name']}: {', '.join(budget['losses'])}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run on an engine, by what it asked for and what it found."""

    samples: int
    verdict: str
    lost: int
    gained: int
    """Flips of the worst case."""
    seed: int
    attacks: str
    """Budget and losses."""
    eps: float
    margin: float
    sequential: bool

    @property
    def hypothesis(self) -> tuple[object, ...]:
        """What is tested: runs about another radius or margin are no further tries."""
        return self.eps, self.margin

    @property
    def test(self) -> tuple[object, ...]:
        """Equal for looks at one test: a sequential one may be extended, a fixed one is repeated as it was."""
        once = () if self.sequential else (self.samples, self.lost, self.gained)
        return self.seed, self.attacks, self.sequential, *once


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run, and the hash of its report."""

    report: str
    run: Run

    def to_json(self) -> dict[str, Any]:
        """Plain types for `measured.history`."""
        return {"report": self.report, **asdict(self.run)}

    @classmethod
    def read(cls, value: Value) -> Earlier:
        """Read what `to_json` wrote.

        Raises:
            BundleError: malformed.
        """
        value.only("report", *Run.__slots__)
        samples, lost, gained = (value[name].integer() for name in ("samples", "lost", "gained"))
        if lost + gained > samples:
            raise value["samples"].expected(f"at least {lost + gained}")
        run = Run(
            samples,
            value["verdict"].choice(VERDICTS),
            lost,
            gained,
            value["seed"].integer(),
            value["attacks"].text(),
            value["eps"].number(),
            value["margin"].number(),
            value["sequential"].truth(),
        )
        return cls(value["report"].sha256(), run)


@dataclass(frozen=True, slots=True)
class History:
    """What a run asked for, and the runs on the same engine before it, the first one first."""

    samples: int
    seed: int
    attacks: str
    eps: float
    margin: float
    sequential: bool
    earlier: Sequence[Earlier]

    @classmethod
    def read(cls, measured: Value) -> History:
        """Read the `measured` half of a report, which may lack `history`.

        Raises:
            BundleError: malformed.
        """
        budget, earlier = measured["budget"], measured.get("history")
        return cls(
            len(measured["truth"].items()),
            measured["seed"].integer(),
            attacks_text({"name": budget["name"].text(), "losses": budget["losses"].texts()}),
            measured["threat"]["eps"].number(),
            measured["margin"].number(),
            measured.get("sequential") is not None,
            [] if earlier is None else [Earlier.read(item) for item in earlier.items()],
        )

    def run(self, verdict: str, lost: int, gained: int) -> Run:
        """The run itself, with what it found."""
        return Run(self.samples, verdict, lost, gained, self.seed, self.attacks, self.eps, self.margin, self.sequential)

    def number(self, lost: int, gained: int) -> int:
        """Which test of the engine this is: one more than those before it that did not pass, on the same hypothesis."""
        own, tests = self.run("inconclusive", lost, gained), list[tuple[object, ...]]()
        for item in self.earlier:
            counts = item.run.hypothesis == own.hypothesis and item.run.verdict != "pass"
            if counts and item.run.test not in tests:
                tests.append(item.run.test)
        return tests.index(own.test) + 1 if own.test in tests else len(tests) + 1

    def after(self, report: str, verdict: str, lost: int, gained: int) -> Sequence[Earlier]:
        """The earlier runs of a run that replaces this one, whose report has the hash `report`."""
        return [*self.earlier, Earlier(report, self.run(verdict, lost, gained))]
