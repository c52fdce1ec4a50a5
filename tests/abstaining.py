"""A tiny bundle with enough samples for a rule of abstention, and passing reports on it with and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sample_report import document, measure, with_answers
from tiny import Linear, bound, metrics, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.spec import thermal

Json = dict[str, Any]
N = 400
ENGINE = "onnx/forward.fp32.onnx"


def bundle_without_report(path: Path) -> Bundle:
    """A thermal bundle whose figures are those of `measured_on`."""
    made = write_bundle(path, Linear.random(thermal(8)), ("fp32",), {}, samples=N)
    right = np.array(measured_on(made)["clean"]["reference"]) == 0
    return made.add({}, metrics=metrics(made.threat, right))


def measured_on(bundle: Bundle) -> Json:
    """Measurements of a run that passes; without margins."""
    return measure(N, lost=0.0, gained=0.0, flipped=0.0, labels=bundle.centers().labels)


def report_on(bundle: Bundle, doubt: float = 0.1) -> Json:
    """A passing report with margins; no threshold is enough where all answers are in doubt."""
    return document(with_answers(bound(measured_on(bundle), bundle, ENGINE), doubt=doubt))


def put(bundle: Bundle, report: Json) -> Bundle:
    """The bundle with this report on its engine."""
    sha256 = bundle.manifest["files"][ENGINE]["sha256"]
    return bundle.add({f"reports/{sha256[:8]}/report.json": json.dumps(report).encode()})
