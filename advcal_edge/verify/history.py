"""Carry the earlier runs on an engine from the report that is about to be replaced into the new one."""

from __future__ import annotations

from collections.abc import Sequence

from advcal_edge import limits
from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.documents import parse_json
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.report.derive import Judgement, named
from advcal_edge.report.history import Earlier, History, Run, attacks_text, level_of
from advcal_edge.report.measured import Measured
from advcal_edge.report.value import Value
from advcal_edge.storage import sha256_bytes
from advcal_edge.threat import ThreatModel, format_eps
from advcal_edge.verify.budget import Budget
from advcal_edge.verify.model_set import ModelSet
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.report import Report


def report_folder(bundle: Bundle, sha256: str, threat: ThreatModel) -> str:
    """Folder of the report on an engine, by its hash; one on another ball than the bundle's lies beside that.

    It ends in the norm if that differs, and in the radius if that is not the usual one of the norm: `5ffbafc7-l2`,
    `5ffbafc7-linf-8of255`.
    """
    own = bundle.threat.with_norm(threat.norm, bundle.modality.input.shape)
    name = f"reports/{sha256[:8]}"
    if (threat.norm, threat.eps) == (bundle.threat.norm, bundle.threat.eps):
        return name
    if threat.eps == own.eps:
        return f"{name}-{threat.norm}"
    return f"{name}-{threat.norm}-{format_eps(threat.eps, threat.norm).replace('/', 'of')}"


def earlier_runs(bundle: Bundle, engine: str, threat: ThreatModel) -> Sequence[Earlier]:
    """The runs on an engine up to the one whose report is in the bundle; empty without one that can be read."""
    name = f"{report_folder(bundle, engine, threat)}/report.json"
    try:
        bundle = Bundle.open(bundle.path)  # another run may have written since
        if not bundle.has(name):
            return []
        content = bundle.read(name, limits.REPORT_BYTES)
        document = Value(parse_json(content, f"`{name}`", BundleError))
        if document["schema"].text() != REPORT_SCHEMA:
            return []
        measured = document["measured"]
        if measured["engine"]["sha256"].text() != engine:
            return []
        run = run_of(measured)
        return [*History.read(measured).earlier, Earlier(sha256_bytes(content), run)]
    except AdvcalError:  # it is replaced because it is damaged, or was written by another version
        return []


def run_of(measured: Value) -> Run:
    """The run behind the `measured` half of a report, with its verdict derived again.

    Raises:
        BundleError: malformed.
    """
    judgement = Judgement.of(Measured.read(measured))
    worst = named(judgement.comparisons, "worst case")
    return History.read(measured).run(judgement.verdict, worst.only_reference, worst.only_engine)


def with_history(bundle: Bundle, report: Report) -> Report:
    """The same report with the earlier runs on its engine; repeating a run with the same result is no other run."""
    earlier = earlier_runs(bundle, report.engine["sha256"], ThreatModel.from_json(report.measured["threat"]))
    if not earlier:
        return report
    before, last = earlier[:-1], earlier[-1]
    again = add(report, before)
    if run_of(Value(again.measured, "measured")) == last.run:
        return again
    return add(report, earlier)


def add(report: Report, earlier: Sequence[Earlier]) -> Report:
    """The report with these earlier runs, if there are any."""
    history = [item.to_json() for item in earlier]
    return Report({**report.measured, "history": history}) if history else report


def levels_left(
    bundle: Bundle, models: ModelSet, options: VerifyOptions, budget: Budget, threat: ThreatModel
) -> dict[str, float]:
    """Per engine the level of the test that is about to run."""
    levels = {}
    for name, model in models.engines.items():
        earlier = earlier_runs(bundle, model.info["sha256"], threat)
        terms = (options.seed, attacks_text(budget.to_json()), threat.eps, options.margin, options.sequential)
        levels[name] = level_of(History(options.samples, *terms, earlier).number(-1, -1))  # flips no run ever had
    return levels
