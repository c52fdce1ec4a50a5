"""A few inputs that fool the engine, as pictures in the modality's own look."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Victim
from advcal_edge.spec import Modality
from advcal_edge.verify.checks.rounding import winning_inputs
from advcal_edge.verify.evidence import Evidence, Samples, predict

SHOWN = 6
AMPLIFIED = 8  # the difference is invisible otherwise


def gallery(engine: Victim, modality: Modality, samples: Samples, evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Clean, amplified difference and adversarial picture of the first few samples that are lost, as PNG in base64."""
    x_adv, fooled = winning_inputs(samples, evidence)
    rows = np.flatnonzero(fooled)[:SHOWN]
    if not len(rows) or len(modality.input.shape) != 3:
        return []
    labels, low, width = engine.centers.labels, modality.input.bounds[0], modality.input.width
    before, after = predict(engine, samples.x[rows]), predict(engine, x_adv[rows])
    shown = []
    for row, first, then in zip(rows, before, after, strict=True):
        clean, adversarial = (samples.x[row] - low) / width, (x_adv[row] - low) / width
        difference = np.clip(0.5 + AMPLIFIED * (adversarial - clean), 0, 1)
        shown.append(
            {
                "sample": int(row),
                "truth": labels[samples.y[row]],
                "before": labels[first],
                "after": labels[then],
                "clean": png(clean, modality),
                "difference": png(difference, modality, plain=True),
                "adversarial": png(adversarial, modality),
            }
        )
    return shown


def png(unit: NDArray[np.float32], modality: Modality, *, plain: bool = False) -> str:
    """A picture (c, h, w) in [0, 1] as base64 PNG; one channel in the thermal palette unless `plain`."""
    pixels: NDArray[Any] = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    if pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    elif modality.name == "thermal" and not plain:
        pixels = cv2.applyColorMap(pixels[:, :, 0], cv2.COLORMAP_INFERNO)
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels))
    return base64.b64encode(encoded.tobytes()).decode("ascii")
