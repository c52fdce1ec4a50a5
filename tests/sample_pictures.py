"""Pictures of samples and their adversarial twins, for the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from advcal_edge.spec import thermal
from advcal_edge.verify.picture import views


def pictures(rng: np.random.Generator, truths: Mapping[int, str]) -> list[dict[str, Any]]:
    """Thermal samples under their true labels."""
    modality = thermal(64)
    yy, xx = np.mgrid[:64, :64]
    shown = []
    for (sample, truth), (other, width) in zip(truths.items(), (("person", 6), ("car", 17), ("dog", 9)), strict=False):
        blob = np.exp(-(((xx - 32) / width) ** 2 + ((yy - 34) / 14) ** 2))
        clean = (0.15 + 0.7 * blob + 0.05 * rng.standard_normal((64, 64))).astype(np.float32)[None]
        change = rng.choice([-4 / 255, 4 / 255], (1, 64, 64)).astype(np.float32)
        shown.append(
            {
                "sample": sample,
                "truth": truth,
                "before": truth,
                "after": "background" if other == truth else other,
                **views(clean, clean + change, modality),
            }
        )
    return shown
