"""Checks derived from other measurements: signs of misleading gradients instead of a robust engine.

Athalye et al. 2018, arXiv 1802.00420; Carlini et al. 2019, arXiv 1902.06705.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from advcal_edge.report.calibration import figures_reproduced, independent_reference, reference_anchored
from advcal_edge.report.census import graph_explained
from advcal_edge.report.checks import NO_GRADIENT, RULES, Check, judge_value, skip
from advcal_edge.report.comparison import Comparison
from advcal_edge.report.measured import Measured
from advcal_edge.report.raised import Raised
from advcal_edge.report.results import WHITE_BOX, AttackResult, Curve, Drift, Flags
from advcal_edge.report.second_look import same_at_second_look
from advcal_edge.retrieval import Rank
from advcal_edge.stats import tango, wilson

NEAR = 5  # places in which the nearest neighbour must be found
LOWEST = 0.05  # of all samples, those of the lowest cosine


def run_checks(measured: Measured, worst: Comparison) -> list[Check]:
    """Every check in the order of the report; `worst` is the worst-case comparison."""
    calibrated = measured.calibration is not None
    anchored = reference_anchored(measured.anchor, calibrated=calibrated)
    derived = [
        runs(measured.raised),
        falls_to_zero(None if measured.curve is None else measured.curve["engine"]),
        black_box_not_stronger(measured.attacks),
        transfer_not_stronger(measured.attacks),
        not_more_robust(worst.reference, worst.engine, measured.margin),
        drift_within_margin(measured.drift),
        same_at_second_look(measured.attacks, measured.margin),
        cosine_floor(measured.drift),
        neighbours_kept(measured.neighbours),
        anchored,
        figures_reproduced(measured.calibration, measured.right("reference"), worst.reference),
        independent_reference(measured.engine, measured.reference, anchored, calibrated=calibrated),
        graph_explained(measured.census),
    ]
    by_name = {**measured.checks, **{check.name: check for check in derived}}
    return [by_name[name] for name in RULES]


def runs(raised: Raised) -> Check:
    """Number of calls with legal inputs that ended in an error."""
    return judge_value("runs", float(raised.calls), str(raised))


def falls_to_zero(curve: Curve | None) -> Check:
    """The largest rise between neighbouring radii, or the accuracy left at the last; the worse of both lower bounds.

    A larger ball contains the smaller one, so an attack that finds less in it was misled. At the last radius every
    input can become any other.
    """
    if curve is None:
        return skip("falls_to_zero", NO_GRADIENT)
    n, last = len(curve.points[0].right), int(curve.points[-1].right.sum())
    rises = [
        (int((after.right & ~before.right).sum()), int((before.right & ~after.right).sum()))
        for before, after in pairwise(curve.points)
    ]
    bound = max(tango(gained, lost, n).low for gained, lost in rises)
    why = f"95 % lower bound of a rise of robust accuracy with the radius, or of the rest at the last ({last} of {n})"
    return judge_value("falls_to_zero", max(bound, wilson(last, n).low), why)


def black_box_not_stronger(attacks: Sequence[AttackResult]) -> Check:
    """Share of samples that only the black box breaks; it has less information, so it must break fewer.

    The lower bound of the share's interval is compared with the limit: a few samples are not evidence of masking.
    """
    if not any(item.route == "gradient" for item in attacks):
        return skip("black_box_not_stronger", "no gradient route to compare with")
    own = [item for item in attacks if item.crafted_on == "engine"]
    alone = fooled(own, "black box", "label only") & ~fooled(attacks, *WHITE_BOX, "difference")
    count, n = int(alone.sum()), len(attacks[0].attacked)
    why = f"95 % lower bound of the share that only scores or labels broke ({count} of {n})"
    return judge_value("black_box_not_stronger", wilson(count, n).low, why)


def transfer_not_stronger(attacks: Sequence[AttackResult]) -> Check:
    """Compare the first attack crafted on the reference with the same crafted on the engine; the engine judges both."""
    own = next((item for item in attacks if item.route == "gradient"), None)
    transfer = next((item for item in attacks if item.route == "transfer" and item.crafted_on == "reference"), None)
    if own is None or transfer is None:
        return skip("transfer_not_stronger", f"no {'gradient' if own is None else 'transfer'} route to compare with")
    both = transfer.attacked & own.attacked  # right on both sides, so that clean errors do not count
    if not both.any():
        return skip("transfer_not_stronger", "no sample is right on both sides")
    foreign, native = transfer.fools("engine")[both], own.fools("engine")[both]
    lead = tango(int((foreign & ~native).sum()), int((native & ~foreign).sum()), int(both.sum())).low
    why = "95 % lower bound of the lead of transferred inputs over inputs crafted on the engine"
    return judge_value("transfer_not_stronger", lead, why)


def not_more_robust(reference: Flags, engine: Flags, margin: float) -> Check:
    """Lower bound of the engine's gain over its source: export cannot add robustness, only make gradients worse."""
    bound = tango(int((engine & ~reference).sum()), int((reference & ~engine).sum()), len(engine)).low
    why = "95 % lower bound of the engine's gain in worst-case accuracy: suspected gradient masking"
    return judge_value("not_more_robust", bound, why, limit=margin * RULES["not_more_robust"].limit)


def drift_within_margin(drift: Drift) -> Check:
    """Share of clean samples whose decision the drift could change."""
    ties, n = int(drift.near_ties.sum()), len(drift.margin)
    why = (
        f"95 % lower bound of the share whose drift could turn the decision ({ties} of {n});"
        f" mean cosine {drift.cosine.mean():.6f}"
    )
    return judge_value("drift_within_margin", wilson(ties, n).low, why)


def cosine_floor(drift: Drift) -> Check:
    """The cosine that all but the lowest twentieth of the samples reach.

    Labels see only the part of an embedding that lies along the centers; what tells apart two samples of one class may
    be turned without any label changing.
    """
    lowest, mean = float(np.quantile(drift.cosine, LOWEST)), drift.cosine.mean()
    why = f"cosine between the embeddings of both sides, all but the lowest 5 % of clean samples (mean {mean:.6f})"
    return judge_value("cosine_floor", lowest, why)


def neighbours_kept(places: Rank) -> Check:
    """Share of samples whose nearest neighbour the engine does not find among the reference's embeddings."""
    lost, n = int((places >= NEAR).sum()), len(places)
    why = (
        f"95 % lower bound of the share of samples that lose their nearest neighbour from the first {NEAR} places"
        f" ({lost} of {n})"
    )
    return judge_value("neighbours_kept", wilson(lost, n).low, why)


def fooled(attacks: Sequence[AttackResult], *routes: str) -> Flags:
    """Where (n,) the engine is fooled by any attack of these routes."""
    flags = [item.fools("engine") for item in attacks if item.route in routes]
    union: Flags = np.logical_or.reduce(flags) if flags else np.zeros(1, np.bool_)
    return union
