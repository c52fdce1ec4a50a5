"""Labelled samples of a comparison: those to attack, and those of which centers are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.split import arrays_sha256, split, stratified_order
from advcal_edge.errors import InputError
from advcal_edge.limits import SAMPLES_BYTES
from advcal_edge.pair.options import PairOptions
from advcal_edge.probe import Probe
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import Modality
from advcal_edge.verify.verification import MINIMUM

ATTACKED = 0.8  # share of the samples that is attacked if the others give the centers
KEPT = 1000
"""Samples kept in a comparison folder, at most, unless more are to be attacked."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Samples to attack, and those for class means, if there are any; labels index into `names`."""

    attacked: Probe
    means: Probe
    names: tuple[str, ...]
    source: str
    skipped: int

    def to_json(self) -> dict[str, Any]:
        """The section `data` of a manifest."""
        held_out = self.attacked
        return {
            "source": self.source,
            "license": None,
            "skipped": self.skipped,
            "partner": None,
            "train": len(self.means),
            "held_out": len(held_out),
            "calibration": 0,
            "train_sha256": arrays_sha256(self.means.x, self.means.y),
            "held_out_sha256": arrays_sha256(held_out.x, held_out.y),
        }


def read_samples(options: PairOptions, modality: Modality, known: tuple[str, ...] | None, *, means: bool) -> Labelled:
    """Read and preprocess the samples; `known` are the labels that may occur, all others count as a mistake.

    With `means`, a fifth of each class is not attacked, and equal frames are on one side.

    Raises:
        InputError: no folder of classes, one class, frames that cannot be read, or too few of them.
    """
    loaded = load_folder(options.data, modality, known, skip_bad=options.skip_bad)
    samples, names = loaded.samples, loaded.samples.names if known is None else known
    others = samples.take(np.arange(0))
    if means:
        others, samples = split(samples, ATTACKED, 0, digests=loaded.digests)
    if len(samples) < MINIMUM:
        apart = f", besides {len(others)} of which the centers are made" if means else ""
        raise InputError(
            f"`{options.data}` holds {len(samples)} samples to attack{apart}; expected at least {MINIMUM}",
            hint="hundreds decide: with no flips at all, about 200 samples rule out a drop of two points",
        )
    limit = max(KEPT, options.samples)
    place = {name: index for index, name in enumerate(names)}
    return Labelled(
        _probe(samples, modality, place, limit), _probe(others, modality, place, limit), names, str(options.data),
        loaded.skipped,
    )  # fmt: skip


def _probe(samples: Samples, modality: Modality, place: Mapping[str, int], limit: int) -> Probe:
    """At most `limit` samples, shuffled over the classes, with labels as indices into all that are known."""
    drawn = samples.take(stratified_order(samples.labels, 0)[:limit])
    SAMPLES_BYTES.check(
        4 * len(drawn) * int(np.prod(modality.input.shape)), f"`{samples.source}`, as float32,", InputError
    )
    y: NDArray[np.int64] = np.array([place[drawn.names[label]] for label in drawn.labels], np.int64)
    return Probe(modality.input.check(preprocess(modality, drawn.frames)), y)
