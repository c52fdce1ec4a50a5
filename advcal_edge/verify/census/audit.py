"""Take the census of a report's engine again, and compare: anyone with the file can do so."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError
from advcal_edge.report.value import Value
from advcal_edge.runtime.engine import read_listed
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.weights import GRAPH, IR
from advcal_edge.verify.census.engine import census_of_file
from advcal_edge.verify.census.explanation import find_explanation
from advcal_edge.verify.findings import Finding, compare, merge, ok, unchecked, wrong


def census_findings(measured: Value, bundle: Bundle, engine: Path | None) -> list[Finding]:
    """Compare the census that a report states with the one of its graph, listed in the bundle or at a path.

    That of a plan is a measurement on a device, which cannot be confirmed here.

    Raises:
        BundleError: malformed.
    """
    about, name = measured["engine"], measured["engine"]["path"].text()
    stated = about.get("census")
    if stated is None:
        return [wrong("census", about, "a census of the engine")]
    if Path(name).suffix not in (GRAPH, IR) or (engine is None and not bundle.has(name)):
        return []  # a plan's layers are told by the device that runs it; of a missing file another finding tells
    try:
        file = EngineFile.of(engine) if engine is not None else read_listed(bundle, name)
        output = None if stated.get("output") is None else stated["output"].value
        bounds = None if about.get("bridged") is not None else bundle.modality.input.bounds
        again = census_of_file(file, find_explanation(bundle), output, bounds)
    except AdvcalError as error:  # a file that was changed, which another finding tells
        return [unchecked("census", stated, error.message)]
    return merge(compare("census", stated, again), ok("census", stated))
