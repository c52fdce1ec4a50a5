"""Records to tables in Markdown: every library on every attack, and ours beside the best of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from attack_contests import OURS

from advcal_edge.report.table import percent
from optimality_bench.measure import Distances, best_of, lead, local_optimality
from optimality_bench.records import Key, Records

POINTS = 0.005
"""How much more than the best library an attack of ours may leave, as a part of one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack of one library, averaged over its seeds; `usual` (n,) are distances, in radii and at most one."""

    optimality: float | None
    left: float
    forwards: float
    backwards: float
    usual: Distances

    def __str__(self) -> str:
        optimality = "-" if self.optimality is None else f"{self.optimality:.3f}"
        return f"{optimality}, {percent(self.left)} %, {self.forwards:.0f} + {self.backwards:.0f}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ours beside the library with the highest optimality, and beside the one that leaves least."""

    attack: str
    best_library: str
    difference: float
    interval: tuple[float, float]
    left_more: float
    met: str

    def row(self) -> list[str]:
        """One line of the table."""
        low, high = self.interval
        return [
            self.attack, self.best_library, f"{self.difference:+.4f} [{low:+.4f}, {high:+.4f}]",
            f"{100 * self.left_more:+.1f}", self.met,
        ]  # fmt: skip


def pool_best(records: Records) -> Distances:
    """The smallest distance (n,) of each sample over everything measured."""
    return best_of(records.distances(key) for key in records.found)


def cells(records: Records) -> dict[str, dict[str, Cell]]:
    """Cells by attack and library."""
    if not records.found:
        return {}
    best, by = pool_best(records), dict[str, dict[str, list[Key]]]()
    for key in records.found:
        by.setdefault(key.attack, {}).setdefault(key.library, []).append(key)
    return {
        attack: {library: cell(records, keys, best) for library, keys in libraries.items()}
        for attack, libraries in by.items()
    }


def cell(records: Records, keys: list[Key], best: Distances) -> Cell:
    """The mean over the seeds of one attack of one library."""
    usual = np.mean([np.minimum(records.distances(key), 1.0) for key in keys], axis=0)

    def mean(name: str) -> float:
        return float(np.mean([records.found[key][name] for key in keys]))

    score = local_optimality(usual, best, 1.0)  # areas are means, so this is the mean over the seeds
    return Cell(score, mean("left"), mean("forwards"), mean("backwards"), usual)


def verdicts(records: Records) -> list[Verdict]:
    """One for each attack that ours and another library have been measured on, and that found anything."""
    found = []
    best = pool_best(records) if records.found else np.zeros(0)
    for attack, by in cells(records).items():
        others = {library: one for library, one in by.items() if library != OURS and one.optimality is not None}
        if OURS not in by or not others:
            continue
        ours, name = by[OURS], max(others, key=lambda library: others[library].optimality or 0.0)
        ahead = lead(ours.usual, others[name].usual, best, 1.0)
        if ahead is None:
            continue
        low, high = ahead["interval"]
        left_more = ours.left - min(one.left for one in others.values())
        met = judge(ahead["difference"], high, left_more)
        found.append(Verdict(attack, name, ahead["difference"], (low, high), left_more, met))
    return found


def judge(difference: float, high: float, left_more: float) -> str:
    """`yes`; `within the interval` where ours is behind by less than chance explains; else `NO`."""
    if difference >= 0 and left_more <= POINTS:
        return "yes"
    return "within the interval" if high >= 0 and left_more <= POINTS else "NO"


def render(records: Records) -> str:
    """Both tables of a file, with what was measured above them."""
    found, settings = cells(records), records.settings
    libraries = sorted({library for by in found.values() for library in by}, key=lambda name: (name != OURS, name))
    rows = [[attack, *(str(by.get(library, "-")) for library in libraries)] for attack, by in found.items()]
    return "\n\n".join(
        [
            f"{settings['model']}, {settings['ball']}, n = {settings['n']}, clean {percent(settings['clean'])} %, "
            f"seeds {sorted({key.seed for key in records.found})}: {_machines(records)}",
            markdown(["optimality, left, forward + backward", *libraries], rows),
            markdown(
                ["attack", "best library", "optimality of ours less [95 %]", "left more, points", "met"],
                [verdict.row() for verdict in verdicts(records)],
            ),
        ]
    )


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machines(records: Records) -> str:
    found = {f"{one['library']} {one['version']}" for one in records.found.values()}
    return f"{', '.join(sorted({one['processor'] for one in records.found.values()}))}; {', '.join(sorted(found))}"
