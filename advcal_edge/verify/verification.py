"""Attack reference and engine, judge everything by both, question the result, decide."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import environment
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.spec import Modality
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.check import Check
from advcal_edge.verify.checks.drift import Drift, drift_within_margin, measure_drift
from advcal_edge.verify.checks.endpoints import eps_zero, huge_eps
from advcal_edge.verify.checks.gradients import finite_differences, gradients_alive
from advcal_edge.verify.checks.masking import (
    black_box_not_stronger,
    independent_reference,
    not_more_robust,
    transfer_not_stronger,
)
from advcal_edge.verify.checks.rounding import survives_rounding
from advcal_edge.verify.checks.stability import batch_independent, repeatable, unit_norm
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Crafted, Evidence, Samples, craft_on_engine, craft_on_reference, embed, judge
from advcal_edge.verify.gallery import gallery
from advcal_edge.verify.gate import decide
from advcal_edge.verify.ranking import top_five
from advcal_edge.verify.report import Report
from advcal_edge.verify.retrieval import craft_mismatches, measure_retrieval

CHECKED = 32  # samples that the costlier checks look at
MINIMUM = 8
ROUTES = ("transfer", "gradient", "black box")


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """One reference, attacked once, against which any number of engines is held."""

    reference: Victim
    modality: Modality
    samples: Samples
    budget: Budget
    margin: float
    z: NDArray[np.float32]  # the reference's clean embeddings (n, d)
    rank: Rank  # of the true label among the reference's (n,)
    crafted: Sequence[Crafted]
    mismatches: Sequence[Crafted]  # what is to miss its partner; empty where samples have none
    seconds: float

    @classmethod
    def prepare(
        cls,
        reference: Victim,
        modality: Modality,
        samples: Samples,
        budget: Budget,
        margin: float = 0.02,
        progress: Progress = silent,
    ) -> Verification:
        """Attack the reference.

        Raises:
            ConfigError: too few samples, or a margin outside (0, 1).
            InputError: partners that are not one embedding a sample.
            EngineError: the reference itself returns NaN.
        """
        if len(samples) < MINIMUM:
            raise ConfigError(
                f"found {len(samples)} samples; verification needs at least {MINIMUM}", hint="raise `--samples`"
            )
        if not 0 < margin < 1:
            raise ConfigError(f"`--margin` must lie between 0 and 1, a fraction of all samples: found {margin:g}")
        started = time.perf_counter()
        z = embed(reference, samples.x)
        if not np.isfinite(z).all():
            raise EngineError(
                "the reference returns NaN or infinite embeddings; there is nothing to hold an engine against"
            )
        rank = label_rank(reference.centers, z, samples.y)
        crafted = craft_on_reference(reference, samples, budget, rank == 0, progress)
        mismatches = craft_mismatches("reference", reference, samples, budget, progress)
        seconds = time.perf_counter() - started
        return cls(reference, modality, samples, budget, margin, z, rank, crafted, mismatches, seconds)

    def run(
        self,
        engine: Victim,
        *,
        engine_info: Mapping[str, Any],
        reference_info: Mapping[str, Any],
        context: Mapping[str, Any],
        progress: Progress = silent,
    ) -> Report:
        """Attack one engine and decide.

        Raises:
            EngineError: its embeddings have another width than the centers.
        """
        started = time.perf_counter()
        samples, y = self.samples, self.samples.y
        one = embed(engine, samples.x[:1])
        if one.shape != (1, engine.centers.dim):
            raise EngineError(
                f"engine gives embeddings {one.shape}; the centers of this bundle are {engine.centers.dim} wide"
            )
        z = embed(engine, samples.x)
        rank = label_rank(engine.centers, z, y)
        foreign = [judge(item, self.reference, engine, y) for item in self.crafted]
        fooled = np.logical_or.reduce([item.fools_engine for item in foreign])
        own = craft_on_engine(engine, samples, self.budget, rank == 0, fooled, progress)
        evidence = [*foreign, *(judge(item, self.reference, engine, y) for item in own)]
        mismatches = [*self.mismatches, *craft_mismatches("engine", engine, samples, self.budget, progress)]
        retrieval = measure_retrieval(
            {"reference": self.reference, "engine": engine}, {"reference": self.z, "engine": z}, samples, mismatches
        )
        comparisons = compare(self.rank == 0, rank == 0, evidence, self.margin)
        worst = comparisons[-1]
        if retrieval is not None:
            comparisons += retrieval.comparisons(self.margin)
        drift = measure_drift(self.z, z, engine.centers)
        checks = [
            *engine_checks(engine, samples),
            black_box_not_stronger(evidence),
            transfer_not_stronger(evidence),
            not_more_robust(worst.reference, worst.engine, self.margin),
            drift_within_margin(drift),
            independent_reference(engine_info, reference_info),
            survives_rounding(engine, self.modality, samples, evidence),
        ]
        verdict, reasons = decide(comparisons, checks)
        return Report(
            verdict=verdict,
            reasons=reasons,
            engine=engine_info,
            reference=reference_info,
            threat=samples.threat.to_json(),
            budget=self.budget.to_json(),
            samples=len(samples),
            seed=samples.seed,
            margin=self.margin,
            comparisons=comparisons,
            checks=checks,
            evidence=evidence,
            drift=drift_to_json(drift),
            retrieval=retrieval,
            top5=top_five(self.rank, rank, evidence, len(engine.centers.labels)),
            gallery=gallery(engine, self.modality, samples, evidence),
            context=context,
            environment=environment(),
            seconds=self.seconds + time.perf_counter() - started,
        )


def engine_checks(engine: Victim, samples: Samples) -> list[Check]:
    """The checks that question the engine itself, on its first samples."""
    few = samples.head(CHECKED)
    return [
        unit_norm(engine, few.x),
        repeatable(engine, few.x),
        batch_independent(engine, few.x),
        eps_zero(engine, few),
        huge_eps(engine, few),
        gradients_alive(engine, few),
        finite_differences(engine, few),
    ]


def compare(
    right_reference: NDArray[np.bool_], right_engine: NDArray[np.bool_], evidence: Sequence[Evidence], margin: float
) -> list[Comparison]:
    """Clean, each route, and last the worst case per sample over everything crafted on either side."""
    comparisons = [Comparison("clean", right_reference, right_engine, margin, decides=True)]
    for name in ROUTES:
        items = [item for item in evidence if item.crafted.route == name]
        if not items:
            continue
        comparisons.append(Comparison(name, *withstood(right_reference, right_engine, items), margin, decides=False))
    worst = withstood(right_reference, right_engine, evidence)
    return [*comparisons, Comparison("worst case", *worst, margin, decides=True)]


def withstood(
    right_reference: NDArray[np.bool_], right_engine: NDArray[np.bool_], evidence: Sequence[Evidence]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Samples right when clean and after every one of these attacks, on either side."""
    broken_reference = np.logical_or.reduce([item.fools_reference for item in evidence])
    broken_engine = np.logical_or.reduce([item.fools_engine for item in evidence])
    return right_reference & ~broken_reference, right_engine & ~broken_engine


def drift_to_json(drift: Drift) -> dict[str, Any]:
    """Per-sample drift against margin, rounded to what a plot can show, with its extremes."""
    return {
        "cosine_min": float(drift.cosine.min()),
        "cosine_mean": float(drift.cosine.mean()),
        "near_ties": int(drift.near_ties.sum()),
        "change": [float(f"{value:.3g}") for value in drift.change],
        "margin": [float(f"{value:.3g}") for value in drift.margin],
    }
