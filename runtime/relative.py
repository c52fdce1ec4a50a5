"""The verified engine with which a plan is compared that has no report: one made from the same graph.

A plan has other bytes on every card and after every update of TensorRT. Its metadata name the graph it was built from;
the report on an earlier plan repeats them, so that its file may be gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError, EngineError
from advcal_edge.expectations import selftest_name
from advcal_edge.limits import REPORT_BYTES
from advcal_edge.report.value import Value
from advcal_edge.runtime.engine import listed_digest, plan_metadata
from advcal_edge.runtime.metadata import EngineMetadata
from advcal_edge.runtime.verified import find_verified

REPORT = re.compile(r"reports/[0-9a-f]{8}/report\.json")


@dataclass(frozen=True, slots=True)
class Relative:
    """A verified engine that was made from the same graph as a plan: another plan, or that graph itself."""

    sha256: str
    path: str
    """Where it was when it was verified."""
    graph: str
    """Name of the graph in the bundle."""

    @property
    def difference(self) -> str:
        """How the plan differs from it, as text."""
        made = "a plan built from it" if self.path == self.graph else f"another file built from the same `{self.graph}`"
        return f"engine: `{self.path}` ({self.sha256[:8]}) when verified, {made} here"


def find_relative(bundle: Bundle, engine: Path, sha256: str) -> Relative:
    """The relative of the engine with this hash, which has no passing report itself.

    The engine must be a forward plan that the bundle lists with its metadata, without any report on its bytes, from a
    graph that the bundle still lists with the same hash. Its relative has a passing report, as `find_verified` judges,
    and a stored self-test. A plan from this graph comes before the graph; among plans one of the same product, then the
    latest version. If such plans were verified and none passed but one failed, the graph does not count either.

    Raises:
        BundleError: a report or the metadata of a plan was changed.
        EngineError: there is none.
    """
    plan = listed_plan(bundle, sha256)
    if plan is None:
        raise refusal(bundle, engine, sha256, "; a self-test repeats one")
    if any(name.startswith(f"reports/{sha256[:8]}") for name in bundle.manifest["files"]):
        raise refusal(
            bundle, engine, sha256, "; its own report does not count as one, so no other engine vouches for it"
        )
    if not bundle.has(plan.graph) or listed_digest(bundle, plan.graph) != plan.graph_sha256:
        again = command("export", bundle.path, "--trt")
        why = f", and `{plan.graph}` there is not the graph from which it was built"
        raise refusal(bundle, engine, sha256, why, f"build it again: `{again}`")
    judged = sorted(judged_plans(bundle, plan), key=lambda other: other.closeness, reverse=True)
    for other in judged:
        if vouches(bundle, other.sha256):
            return Relative(other.sha256, other.path, plan.graph)
    failed = next((other for other in judged if other.failed), None)
    if failed is not None:
        why = f", and `{failed.path}` ({failed.sha256[:8]}), built from the same graph, failed its verification"
        raise refusal(bundle, engine, sha256, why)
    if not vouches(bundle, plan.graph_sha256):
        why = f"; neither has `{plan.graph}`, from which it was built, nor another plan of it, with a stored self-test"
        raise refusal(bundle, engine, sha256, why)
    return Relative(plan.graph_sha256, plan.graph, plan.graph)


def has_relative(bundle: Bundle, sha256: str) -> bool:
    """Can the listed plan with this hash be retested?

    Raises:
        BundleError: a report or the metadata of a plan was changed.
    """
    try:
        find_relative(bundle, bundle.path, sha256)
    except EngineError:
        return False
    return True


def refusal(bundle: Bundle, engine: Path, sha256: str, why: str, hint: str | None = None) -> EngineError:
    """The error of an engine that nothing vouches for."""
    return EngineError(
        f"engine `{engine}` ({sha256[:8]}) has no passing report in `{bundle.path}`{why}",
        hint=hint or f"`{command('verify', bundle.path, '--engine', engine)}`",
    )


def listed_plan(bundle: Bundle, sha256: str) -> EngineMetadata | None:
    """The metadata of the listed forward plan with this hash; they are compared with the manifest."""
    files = bundle.manifest["files"]
    return next(
        (
            metadata
            for name, metadata in plan_metadata(bundle).items()
            if metadata.kind == "forward" and metadata.sha256 == files[name]["sha256"] == sha256
        ),
        None,
    )


def vouches(bundle: Bundle, sha256: str) -> bool:
    """Has the engine with this hash a passing report, and a stored self-test?"""
    return bundle.has(selftest_name(sha256)) and find_verified(bundle, sha256) is not None


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """A plan from the same graph, as its report states it; whether the report counts is judged by `vouches`."""

    sha256: str
    path: str
    failed: bool
    closeness: tuple[bool, tuple[int, ...], str]
    """Same product, version, hash: the largest is taken."""


def judged_plans(bundle: Bundle, plan: EngineMetadata) -> Iterator[JudgedPlan]:
    """The plans on which the bundle has a report, from the graph of `plan` at its requested precision and step.

    A report that cannot be read, as one of another version, says nothing of any plan.

    Raises:
        BundleError: a report was changed.
    """
    for name in filter(REPORT.fullmatch, bundle.manifest["files"]):
        content = bundle.read(name, REPORT_BYTES)
        try:
            found = judged_plan(Value(parse_json(content, name, BundleError)), plan)
        except BundleError:
            continue
        if found is not None:
            yield found


def judged_plan(report: Value, plan: EngineMetadata) -> JudgedPlan | None:
    """The engine of a report if it is a plan of the same origin.

    Raises:
        BundleError: malformed.
    """
    measured, verdict = report["measured"], report["derived"]["verdict"]
    engine, about = measured["engine"], measured["engine"].get("plan")
    if report["schema"].value != REPORT_SCHEMA or about is None:
        return None
    step = engine.get("step")
    stated = about["graph_sha256"].value, about["asked"].value, None if step is None else step.value
    if stated != (plan.graph_sha256, plan.precision, plan.step) or measured["hashes"]["graph"].value != stated[0]:
        return None
    version = tuple(part.integer() for part in about["version"].items())
    sha256 = engine["sha256"].sha256()
    closeness = (about["product"].text() == plan.product, version, sha256)
    return JudgedPlan(sha256, engine["path"].text(), verdict.value == "fail", closeness)
