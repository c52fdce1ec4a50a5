"""A tiny bundle whose passing report has margins of answers, and with them a rule for abstention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sample_report import document, measure, with_answers
from tiny import Linear, bound, metrics, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.spec import Modality, thermal

SAMPLES = 400
ENGINE = "onnx/forward.fp32.onnx"


def plain_bundle(path: Path, modality: Modality | None = None) -> Bundle:
    """A bundle with one engine and as many samples as a rule takes, without a report."""
    made = write_bundle(path, Linear.random(modality or thermal(8)), ("fp32",), {}, samples=SAMPLES)
    right = np.array(measured_on(made)["clean"]["reference"]) == 0
    return made.add({}, metrics=metrics(made.threat, right))


def measured_on(bundle: Bundle) -> dict[str, Any]:
    """Measurements of an engine that changed nothing, without margins of answers."""
    return measure(SAMPLES, lost=0.0, gained=0.0, flipped=0.0, labels=bundle.centers().labels)


def report_on(bundle: Bundle, doubt: float = 0.1) -> dict[str, Any]:
    """A passing report with margins; `doubt` scales those of wrong answers, and 1 leaves no threshold."""
    return document(with_answers(bound(measured_on(bundle), bundle, ENGINE), doubt=doubt))


def put(bundle: Bundle, report: dict[str, Any]) -> Bundle:
    """The bundle with this report on its engine."""
    sha256 = bundle.manifest["files"][ENGINE]["sha256"]
    return bundle.add({f"reports/{sha256[:8]}/report.json": json.dumps(report).encode()})
