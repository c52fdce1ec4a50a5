"""A few inputs that fool the engine, as pictures in the modality's own look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from advcal_edge.attacks import Victim
from advcal_edge.spec import Modality
from advcal_edge.verify.evidence import Evidence, Samples, predict, winning_inputs
from advcal_edge.verify.picture import can_show, views

SHOWN = 6


def gallery(engine: Victim, modality: Modality, samples: Samples, evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Clean, amplified difference and adversarial picture of the first few samples that are lost, as PNG in base64."""
    x_adv, fooled = winning_inputs(samples, evidence)
    rows = np.flatnonzero(fooled)[:SHOWN]
    if not len(rows) or not can_show(modality):
        return []
    labels, low, width = engine.centers.labels, modality.input.bounds[0], modality.input.width
    before, after = predict(engine, samples.x[rows]), predict(engine, x_adv[rows])
    return [
        {
            "sample": int(row),
            "truth": labels[samples.y[row]],
            "before": labels[first],
            "after": labels[then],
            **views((samples.x[row] - low) / width, (x_adv[row] - low) / width, modality),
        }
        for row, first, then in zip(rows, before, after, strict=True)
    ]
