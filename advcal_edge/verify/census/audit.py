"""Take the census of a report's engine again, and compare: anyone with the file can do so."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.report.value import Value
from advcal_edge.runtime.engine import read_listed
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.weights import GRAPH, IR
from advcal_edge.verify.census.engine import census_of_file
from advcal_edge.verify.census.explanation import find_explanation
from advcal_edge.verify.findings import Finding, compare, ok, unchecked, wrong


def census_findings(measured: Value, bundle: Bundle, engine: Path | None) -> list[Finding]:
    """Compare the census that a report states with the one of its engine, listed in the bundle or at a path.

    Raises:
        BundleError: a malformed report.
    """
    about, name = measured["engine"], measured["engine"]["path"].text()
    stated = about.get("census")
    if stated is None:
        return [wrong("census", about, "a census of the engine")]
    if is_plan(Path(name)) or Path(name).suffix not in (GRAPH, IR):
        return [unchecked("census", stated, "a graph; the layers of a plan are told by the device that runs it")]
    if engine is None and not bundle.has(name):
        return [unchecked("census", stated, "an engine outside the bundle; give its file")]
    try:
        file = EngineFile.of(engine) if engine is not None else read_listed(bundle, name)
        output = None if stated.get("output") is None else stated["output"].value
        bounds = None if about.get("bridged") is not None else bundle.modality.input.bounds
        again = census_of_file(file, find_explanation(bundle), output, bounds)
    except BundleError:
        raise
    except AdvcalError as error:
        return [wrong("census", stated, error.message)]
    return compare("census", stated, again) or [ok("census", stated)]
