"""Measurements of a calibration, before and after, per sample: labels and retrieval, clean and under attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from advcal_edge.attacks import APGD, ATTACK_BATCH, PGD, Attack, AttackedModel, AttackOutcome, Square, run_attack
from advcal_edge.calibrate.config import EvaluateConfig
from advcal_edge.calibrate.processes import ALONE, Processes
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.columns import Column
from advcal_edge.probe import Probe
from advcal_edge.progress import Progress
from advcal_edge.retrieval import TOP, Rank, Recall, gallery, label_rank, recall, share
from advcal_edge.stats import Interval, wilson
from advcal_edge.threat import ThreatModel

Mask = NDArray[np.bool_]
Passes = tuple[int, int]
"""Number of forward passes alone, and of those with the gradient of the input."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One module: per column the rank (n,) of the true label, and the recall of paired samples.

    A sample that is wrong without any attack counts as broken in every column.
    """

    name: str
    ranks: Mapping[Column, Rank]
    classes: int
    recall: Mapping[str, Recall]
    """`clean` and `attacked`; empty if the samples have no partners."""

    @property
    def n(self) -> int:
        """Number of samples in every column."""
        return len(self.ranks["clean"])

    def right(self, column: Column, top: int = 1) -> Mask:
        """Where (n,) the label is among the best `top`."""
        right: Mask = self.ranks[column] < top
        return right

    def accuracy(self, column: Column, top: int = 1) -> float:
        """Share of samples whose label is among the best `top`."""
        return float(self.right(column, top).mean())

    def interval(self, column: Column, top: int = 1) -> Interval:
        """95 % Wilson interval of that share."""
        return wilson(int(self.right(column, top).sum()), self.n)

    @property
    def gradients_find_nothing(self) -> bool:
        """Does the black box break samples while no attack along gradients breaks a single one?"""
        clean, found = self.right("clean"), self.right("pgd") & self.right("apgd")
        return bool((found == clean).all() and (self.right("square") < clean).any())

    def to_json(self) -> dict[str, Any]:
        """Counts, fractions and intervals by column."""
        columns: dict[str, Any] = {}
        for column in self.ranks:
            columns[column] = {
                "correct": int(self.right(column).sum()),
                "n": self.n,
                "accuracy": self.accuracy(column),
                "interval": self.interval(column).to_json(),
            }
            if self.classes > TOP:  # with five labels or fewer, top-5 is always right
                columns[column]["top5"] = share(self.right(column, TOP))
        if self.recall:
            columns["recall"] = {name: recall.to_json() for name, recall in self.recall.items()}
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class ResultTable:
    """Before and after on the same samples; `budgets` gives the attacker's budget per column."""

    before: Row
    after: Row
    threat: ThreatModel
    budgets: Mapping[Column, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "threat": self.threat.to_json(),
            "n": self.before.n,
            "budgets": dict(self.budgets),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


def attacks_of(config: EvaluateConfig) -> Mapping[Column, PGD | APGD | Square]:
    """The attacks that see the whole defence, each with the column of its results."""
    return {
        "pgd": PGD(steps=config.steps, select="strongest"),  # replayed on another module, and ranked
        "apgd": APGD(steps=config.steps),
        "square": Square(queries=config.queries),
    }


def measure(
    before: TorchRunner,
    after: TorchRunner,
    centers: Centers,
    probe: Probe,
    threat: ThreatModel,
    config: EvaluateConfig,
    *,
    seed: int,
    processes: Processes = ALONE,
    progress: Progress,
) -> ResultTable:
    """Attack the frozen encoder and the calibrated one on the same samples.

    `static` replays PGD's inputs for the frozen module on the calibrated one; all other attacks see the whole defence.
    """
    attacks = attacks_of(config)
    attacker = Attacker(threat, seed, processes, progress)
    crafted = attacker("before pgd", attacks["pgd"], before.attacked(centers), probe)
    rows = []
    for name, runner in (("before", before), ("after", after)):
        clean = _ranks(runner, centers, probe.x, probe.y)
        standing = clean == 0
        static = np.maximum(clean, _ranks(runner, centers, crafted, probe.y))
        ranks: dict[Column, Rank] = {"clean": clean, "static": static}
        for column, attack in attacks.items():
            if name == "before" and column == "pgd":
                ranks[column] = ranks["static"]  # here the static examples are the adaptive ones
                continue
            ranks[column] = clean.copy()
            if not standing.any():
                continue
            part = probe.take(standing)
            found = attacker(f"{name} {column}", attack, runner.attacked(centers), part)
            ranks[column][standing] = _ranks(runner, centers, found, part.y)
        ranks["worst"] = np.maximum.reduce(list(ranks.values()))
        recall = measure_recall(name, runner, probe, attacks["pgd"], attacker)
        rows.append(Row(name, ranks, len(centers.labels), recall))
    budgets: dict[Column, str] = {"static": f"{attacks['pgd']} on the frozen encoder"}
    budgets.update((column, str(attack)) for column, attack in attacks.items())
    return ResultTable(rows[0], rows[1], threat, budgets)


def most_passes(config: EvaluateConfig, *, paired: bool) -> tuple[Passes, Passes]:
    """Passes of one sample in `measure` at most, through the frozen encoder and through the calibrated one.

    Samples that are wrong from the start or fooled early need fewer.
    """
    judged = {column: _more(attack.most_passes, 1) for column, attack in attacks_of(config).items()}  # by `run_attack`
    ranked = {column: _more(passes, 1) for column, passes in judged.items()}
    both = [(2, 0), *([_more(judged["pgd"], 2)] if paired else [])]  # clean and static ranks; retrieval
    return _total([*both, judged["pgd"], ranked["apgd"], ranked["square"]]), _total([*both, *ranked.values()])


def _more(passes: Passes, forward: int) -> Passes:
    return passes[0] + forward, passes[1]


def _total(passes: list[Passes]) -> Passes:
    return sum(forward for forward, _ in passes), sum(both for _, both in passes)


def measure_recall(
    name: str, runner: TorchRunner, probe: Probe, attack: Attack, attacker: Attacker
) -> dict[str, Recall]:
    """Clean and attacked recall of the samples' partners; the attack treats each partner as a separate class."""
    if probe.partner is None or len(probe) < 2:
        return {}
    centers, own = gallery(probe.partner), Probe(probe.x, np.arange(len(probe)))
    found = attacker(f"{name} retrieval", attack, runner.attacked(centers), own)
    return {
        "clean": recall(_embed(runner, probe.x), probe.partner),
        "attacked": recall(_embed(runner, found), probe.partner),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """Attacks all samples, in batches that several processes share."""

    threat: ThreatModel
    seed: int
    processes: Processes
    progress: Progress

    def __call__(self, route: str, attack: Attack, model: AttackedModel, probe: Probe) -> NDArray[np.float32]:
        """Attacked inputs (n, ...), on every process."""
        count, n = -(-len(probe) // ATTACK_BATCH), len(probe)
        own = []
        for index in self.processes.own(count) if self.processes.count > 1 else ():
            part = probe.take(slice(index * ATTACK_BATCH, (index + 1) * ATTACK_BATCH))
            found = np.zeros((ATTACK_BATCH, *probe.x.shape[1:]), np.float32)
            found[: len(part)] = self._attack(route, attack, model, part, index).x_adv
            own.append(torch.from_numpy(found))
        if self.processes.count == 1:
            return self._attack(route, attack, model, probe, 0).x_adv
        stacked = torch.stack(own) if own else torch.zeros(0, ATTACK_BATCH, *probe.x.shape[1:])
        attacked: NDArray[np.float32] = self.processes.gather(stacked, count).flatten(0, 1)[:n].numpy()
        return attacked

    def _attack(self, route: str, attack: Attack, model: AttackedModel, probe: Probe, first: int) -> AttackOutcome:
        return run_attack(
            attack, model, probe.x, probe.y, self.threat,
            route=route, seed=self.seed, first=first, progress=self.progress,
        )  # fmt: skip


def _ranks(runner: TorchRunner, centers: Centers, x: NDArray[np.float32], y: NDArray[np.int64]) -> Rank:
    """Rank (n,) of each sample's own label."""
    return label_rank(centers, _embed(runner, x), y)


def _embed(runner: TorchRunner, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """z (n, d), in batches."""
    parts = [runner(part) for part in np.array_split(x, max(len(x) // 200, 1))]
    z: NDArray[np.float32] = np.concatenate(parts)
    return z
