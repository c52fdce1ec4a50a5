"""The figures of a calibration: clean, static, adaptive, black box, worst case, before and after, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import APGD, PGD, Attack, AttackOutcome, Square, run_attack
from advcal_edge.calibrate.config import EvaluateConfig
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.probe import Probe
from advcal_edge.progress import Progress
from advcal_edge.stats import Interval, wilson
from advcal_edge.threat import ThreatModel

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One module: for each column, which samples (n,) it labels rightly there.

    A sample that is wrong without any attack counts as broken in every column.
    """

    name: str
    right: Mapping[str, Mask]

    @property
    def n(self) -> int:
        """Samples in every column."""
        return len(self.right["clean"])

    def accuracy(self, column: str) -> float:
        """Share of samples labelled rightly."""
        return float(self.right[column].mean())

    def interval(self, column: str) -> Interval:
        """95 % Wilson interval of that share."""
        return wilson(int(self.right[column].sum()), self.n)

    def to_json(self) -> dict[str, Any]:
        """Counts, fractions and intervals by column."""
        return {
            column: {
                "correct": int(mask.sum()),
                "n": self.n,
                "accuracy": self.accuracy(column),
                "interval": self.interval(column).to_json(),
            }
            for column, mask in self.right.items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class ResultTable:
    """Before and after on the same samples; `budgets` says by column what the attacker was allowed."""

    before: Row
    after: Row
    threat: ThreatModel
    budgets: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "threat": self.threat.to_json(),
            "n": self.before.n,
            "budgets": dict(self.budgets),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
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
    progress: Progress,
) -> ResultTable:
    """Attack the frozen encoder and the calibrated one on the same samples.

    `static` replays on the calibrated one what PGD found on the frozen one; every other attack sees the whole defence.
    """
    attacks: dict[str, Attack] = {
        "pgd": PGD(steps=config.steps),
        "apgd": APGD(steps=config.steps),
        "square": Square(queries=config.queries),
    }
    crafted = _attack("before pgd", attacks["pgd"], before, centers, probe, threat, seed, progress)
    rows = []
    for name, runner in (("before", before), ("after", after)):
        clean = _judge(runner, centers, probe.x, probe.y)
        right = {"clean": clean, "static": clean & _judge(runner, centers, crafted.x_adv, probe.y)}
        standing = Probe(probe.x[clean], probe.y[clean])
        for column, attack in attacks.items():
            if name == "before" and column == "pgd":
                right[column] = right["static"]  # here the static examples are the adaptive ones
                continue
            right[column] = clean.copy()
            if not clean.any():
                continue
            outcome = _attack(f"{name} {column}", attack, runner, centers, standing, threat, seed, progress)
            right[column][clean] = ~outcome.success
        right["worst"] = np.logical_and.reduce(list(right.values()))
        rows.append(Row(name, right))
    budgets = {"static": f"{attacks['pgd']} on the frozen encoder"} | {k: str(a) for k, a in attacks.items()}
    return ResultTable(rows[0], rows[1], threat, budgets)


def _attack(
    route: str,
    attack: Attack,
    runner: TorchRunner,
    centers: Centers,
    probe: Probe,
    threat: ThreatModel,
    seed: int,
    progress: Progress,
) -> AttackOutcome:
    victim = runner.victim(centers)
    return run_attack(attack, victim, probe.x, probe.y, threat, route=route, seed=seed, progress=progress)


def _judge(runner: TorchRunner, centers: Centers, x: NDArray[np.float32], y: NDArray[np.int64]) -> Mask:
    """Which samples (n,) get their own label."""
    found = [centers.predict(runner(part)) for part in np.array_split(x, max(len(x) // 200, 1))]
    right: Mask = np.concatenate(found) == y
    return right
